"""Base images from a registry and results to it, plain http and https with a private CA."""

import json
import subprocess

import pytest

from conftest import peer

BASE = "FROM scratch\nADD base.tar /\nENV PATH=/bin\n"


@pytest.fixture(params=["http", "https"])
def reg(request, registry_factory, daemon_factory):
    r = registry_factory(tls=request.param == "https")
    config = f'[registry."{r.host}"]\n'
    config += f'http = false\nca = ["{r.ca}"]\n' if r.ca else "http = true\n"
    d = daemon_factory(config=config).start()
    yield r, d
    assert d.inner_mounts() == []
    assert d.stop() == 0


def test_push_pull(reg, ctx, client, tmp_path):
    r, d = reg
    (ctx / "Dockerfile").write_text(BASE)
    d.build(ctx, "--output", f"type=image,name={r.host}/base:1,push=true", client=client)
    d.ctl("prune", "--all")
    (ctx / "Dockerfile").write_text(
        f"FROM {r.host}/base:1 AS b\nRUN echo built > /x\nFROM {r.host}/base:1\n"
        "COPY --from=b /x /y\n")
    md = tmp_path / "md.json"
    d.build(ctx, "--output", f"type=image,name={r.host}/app:1,push=true", "--metadata-file", md,
            client=client)
    args = ["--tls-verify=false"]
    out = subprocess.run(["skopeo", "inspect", *args, f"docker://{r.host}/app:1"],
                         capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout)["Digest"] == json.loads(md.read_text())["containerimage.digest"]
    d.ctl("prune", "--all")
    (ctx / "Dockerfile").write_text(f"FROM {r.host}/app:1\nRUN cat /y > /z\n")
    d.build(ctx, "--output", f"type=local,dest={tmp_path}/out", client=client)
    assert (tmp_path / "out/z").read_text() == "built\n"


def test_original_daemon_takes_what_we_pushed(registry, daemon, daemon_factory, ctx, tmp_path):
    (ctx / "Dockerfile").write_text(BASE)
    daemon.build(ctx, "--output", f"type=image,name={registry.host}/base:1,push=true")
    real = daemon_factory("real", binary=peer("buildkitd")).start()
    (ctx / "Dockerfile").write_text(f"FROM {registry.host}/base:1\nRUN echo ok > /x\n")
    real.build(ctx, "--output", f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/x").read_text() == "ok\n"
    real.stop()


def test_missing_image(registry, daemon, ctx, client):
    (ctx / "Dockerfile").write_text(f"FROM {registry.host}/nothing:1\nRUN true\n")
    r = daemon.build(ctx, check=False, client=client)
    assert r.returncode == 1
    assert f"{registry.host}/nothing:1: not found" in r.stderr.decode()


def test_no_registry(daemon, ctx):
    (ctx / "Dockerfile").write_text("FROM localhost:1/x:1\nRUN true\n")
    r = daemon.build(ctx, check=False)
    assert r.returncode == 1
    assert "connection refused" in r.stderr.decode().lower()


def test_runc_runs_the_result(daemon, ctx, tmp_path):
    (ctx / "Dockerfile").write_text(BASE + "RUN echo from-the-build > /msg\n")
    bundle = tmp_path / "bundle"
    daemon.build(ctx, "--output", f"type=local,dest={bundle}/rootfs")
    subprocess.run(["runc", "spec", "-b", bundle], check=True)
    cfg = json.loads((bundle / "config.json").read_text())
    cfg["process"]["args"] = ["/bin/cat", "/msg"]
    cfg["process"]["terminal"] = False
    cfg["process"]["rlimits"] = []
    (bundle / "config.json").write_text(json.dumps(cfg))
    r = subprocess.run(["runc", "run", "-b", bundle, "bkc-test"], capture_output=True, text=True)
    assert r.stdout == "from-the-build\n", r.stderr
