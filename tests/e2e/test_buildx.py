"""docker buildx with the remote driver."""

import json
import os
import subprocess
import tarfile

import pytest

from conftest import peer

DF = "FROM scratch\nADD base.tar /\nENV PATH=/bin\nRUN echo x > /x\n"


@pytest.fixture
def buildx(daemon, tmp_path):
    env = dict(os.environ, BUILDX_CONFIG=str(tmp_path / "bx"), HOME=str(tmp_path))
    bx = peer("buildx")

    def run(*args, check=True):
        r = subprocess.run([bx, *map(str, args)], env=env, capture_output=True, text=True,
                           timeout=120)
        assert not check or r.returncode == 0, r.stderr[-4000:]
        return r

    run("create", "--name", "c", "--driver", "remote", daemon.addr)
    return run


def test_build(buildx, ctx, tmp_path):
    (ctx / "Dockerfile").write_text(DF)
    buildx("build", "--builder", "c", "--output", f"type=local,dest={tmp_path}/out", ctx)
    assert (tmp_path / "out/x").read_text() == "x\n"
    r = buildx("build", "--builder", "c", "--progress=plain", "-t", "example.com/a:b",
               "--output", f"type=oci,dest={tmp_path}/o.tar", ctx)
    assert "CACHED" in r.stderr
    with tarfile.open(tmp_path / "o.tar") as t:
        assert "index.json" in t.getnames()


def test_push(buildx, registry, ctx, tmp_path):
    (ctx / "Dockerfile").write_text(DF)
    buildx("build", "--builder", "c", "-t", f"{registry.host}/x:1", "--push", ctx)
    r = subprocess.run(["skopeo", "inspect", "--tls-verify=false",
                        f"docker://{registry.host}/x:1"], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


def test_inspect_du_prune(buildx):
    assert "Status:" in buildx("inspect", "c").stdout
    buildx("du", "--builder", "c")
    buildx("prune", "--builder", "c", "-f")


def test_bake(buildx, ctx, tmp_path):
    (ctx / "Dockerfile").write_text(DF)
    (ctx / "bake.json").write_text(json.dumps({
        "group": {"default": {"targets": ["a", "b"]}},
        "target": {n: {"context": str(ctx), "args": {"N": n},
                       "output": [f"type=local,dest={tmp_path}/{n}"]} for n in "ab"}}))
    buildx("bake", "--builder", "c", "--allow=fs=*", "-f", ctx / "bake.json")
    assert (tmp_path / "a/x").exists() and (tmp_path / "b/x").exists()


def test_failure_text(buildx, ctx):
    (ctx / "Dockerfile").write_text("FROM scratch\nADD base.tar /\nENV PATH=/bin\nRUN exit 7\n")
    r = buildx("build", "--builder", "c", ctx, check=False)
    assert r.returncode != 0
    assert 'process "/bin/sh -c exit 7" did not complete successfully: exit code: 7' in r.stderr
    assert "Dockerfile:4" in r.stderr and ">>> RUN exit 7" in r.stderr


def test_history(buildx, daemon, ctx):
    (ctx / "Dockerfile").write_text(DF)
    buildx("build", "--builder", "c", ctx)
    (ctx / "Dockerfile").write_text(DF + "RUN false\n")
    assert buildx("build", "--builder", "c", ctx, check=False).returncode != 0
    rows = [json.loads(x) for x in
            buildx("history", "ls", "--builder", "c", "--format=json").stdout.splitlines()]
    assert sorted(r["status"] for r in rows) == ["Completed", "Error"]
    failed = next(r for r in rows if r["status"] == "Error")["ref"].split("/")[-1]
    done = next(r for r in rows if r["status"] == "Completed")["ref"].split("/")[-1]
    r = buildx("history", "logs", "--builder", "c", "--progress=plain", failed)
    assert "RUN false" in r.stdout + r.stderr
    r = buildx("history", "inspect", "--builder", "c", failed)
    assert "exit code: 1" in r.stdout
    rows = buildx("history", "ls", "--builder", "c", "--format=json", "--filter",
                  "status=completed").stdout.splitlines()
    assert [json.loads(x)["ref"].split("/")[-1] for x in rows] == [done]
    buildx("history", "rm", "--builder", "c", done)
    # They outlive a restart, the log too.
    daemon.stop()
    daemon.start()
    rows = buildx("history", "ls", "--builder", "c", "--format=json").stdout.splitlines()
    assert [json.loads(x)["ref"].split("/")[-1] for x in rows] == [failed]
    r = buildx("history", "logs", "--builder", "c", "--progress=plain", failed)
    assert "RUN false" in r.stdout + r.stderr
