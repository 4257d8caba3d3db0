"""Frontends that are images: the original Dockerfile frontend, run by our daemon. It is built with
CGO_ENABLED=0 from github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend."""

import os
import re
import subprocess

import images
import pytest
from conftest import BIN, peer, wait_for

CAPS = "moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests," \
       "moby.buildkit.frontend.contexts"
DF = "FROM scratch\nADD base.tar /\nENV PATH=/bin\nRUN echo {word} > /x\n"


@pytest.fixture
def frontend_binary():
    return peer("dockerfile-frontend")


def push_frontend(registry, binary, name="dockerfile", config=None):
    layer = images.tar_layer([("bin", "d", None),
                              ("bin/dockerfile-frontend", "f", binary.read_bytes())])
    cfg = {"Entrypoint": ["/bin/dockerfile-frontend"],
           "Labels": {"moby.buildkit.frontend.caps": CAPS,
                      "moby.buildkit.frontend.network.none": "true"}}
    cfg.update(config or {})
    manifest, blobs = images.image([layer], config={"config": cfg})
    images.push(registry.host, name, "1", manifest, blobs)
    return f"{registry.host}/{name}:1"


@pytest.fixture
def frontend(registry, frontend_binary):
    return push_frontend(registry, frontend_binary)


def test_syntax_line(daemon, frontend, ctx, client, tmp_path):
    (ctx / "Dockerfile").write_text(f"# syntax={frontend}\n" + DF.format(word="one"))
    daemon.build(ctx, "--output", f"type=local,dest={tmp_path}/out", client=client)
    assert (tmp_path / "out/x").read_text() == "one\n"
    # Its layers are known as a frontend's.
    assert "frontend" in daemon.ctl("du", "-v").stdout.decode()


def test_gateway_option(daemon, frontend, ctx, tmp_path):
    (ctx / "Dockerfile").write_text(DF.format(word="two"))
    daemon.ctl("build", "--progress=plain", "--frontend=gateway.v0", "--opt",
               f"source={frontend}", "--local", f"context={ctx}", "--local",
               f"dockerfile={ctx}", "--output", f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/x").read_text() == "two\n"


def test_buildx(daemon, frontend, ctx, tmp_path):
    env = dict(os.environ, BUILDX_CONFIG=str(tmp_path / "bx"), HOME=str(tmp_path))
    (ctx / "Dockerfile").write_text(f"# syntax={frontend}\n" + DF.format(word="three"))
    for args in (["create", "--name", "c", "--driver", "remote", daemon.addr],
                 ["build", "--builder", "c", "--output", f"type=local,dest={tmp_path}/out", ctx]):
        r = subprocess.run([peer("buildx"), *args], env=env, capture_output=True, text=True)
        assert r.returncode == 0, r.stderr
    assert (tmp_path / "out/x").read_text() == "three\n"


def test_errors_have_their_place(daemon, frontend, ctx):
    (ctx / "Dockerfile").write_text(f"# syntax={frontend}\nFROM scratch\nADD base.tar /\n"
                                    "ENV PATH=/bin\nRUN false\n")
    r = daemon.build(ctx, check=False)
    assert r.returncode != 0
    text = r.stderr.decode()
    assert 'process "/bin/sh -c false" did not complete successfully: exit code: 1' in text
    assert re.search(r">>> RUN false", text), text


def test_missing_caps(daemon, registry, frontend_binary, ctx):
    ref = push_frontend(registry, frontend_binary, "nocaps", {"Labels": {}})
    (ctx / "Dockerfile").write_text(DF.format(word="x"))
    r = daemon.ctl("build", "--frontend=gateway.v0", "--opt", f"source={ref}", "--opt",
                   "frontend.caps=moby.buildkit.frontend.contexts", "--local", f"context={ctx}",
                   "--local", f"dockerfile={ctx}", check=False)
    assert r.returncode != 0
    assert "unsupported frontend capability moby.buildkit.frontend.contexts" in r.stderr.decode()


def test_process_that_fails(daemon, registry, ctx):
    rootfs = (ctx / "base.tar").read_bytes()
    manifest, blobs = images.image([rootfs], config={
        "config": {"Entrypoint": ["/bin/sh", "-c", "echo no frontend >&2; exit 3"]}})
    images.push(registry.host, "bad", "1", manifest, blobs)
    r = daemon.ctl("build", "--frontend=gateway.v0", "--opt", f"source={registry.host}/bad:1",
                   check=False)
    assert r.returncode != 0
    assert "exit code: 3" in r.stderr.decode()
    assert "no frontend" in daemon.log.read_text()


@pytest.mark.parametrize("script", ["exec sleep 600", "head -c 100000 /dev/zero; exec sleep 600"])
def test_silent_and_babbling_end_with_the_client(daemon, registry, ctx, script):
    """One that says nothing is there until the client goes, one that speaks no HTTP/2 is ended."""
    rootfs = (ctx / "base.tar").read_bytes()
    manifest, blobs = images.image([rootfs], config={
        "config": {"Entrypoint": ["/bin/sh", "-c", script]}})
    images.push(registry.host, "odd", "1", manifest, blobs)
    args = [BIN / "buildctl", "--addr", daemon.addr, "build", "--frontend=gateway.v0", "--opt",
            f"source={registry.host}/odd:1"]
    if script.startswith("head"):
        r = subprocess.run(args, capture_output=True, timeout=60)
        assert r.returncode != 0
        assert "frontend grpc server closed unexpectedly" in r.stderr.decode()
        return
    p = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        p.wait(3)
    p.terminate()
    p.communicate(timeout=30)
    wait_for(lambda: not daemon.inner_mounts())


def test_allowed_repositories(daemon_factory, registry, frontend_binary, ctx):
    ref = push_frontend(registry, frontend_binary)
    d = daemon_factory(config='[frontend."gateway.v0"]\n'
                              'allowedRepositories = ["example.com/other"]\n').start()
    (ctx / "Dockerfile").write_text(DF.format(word="x"))
    r = d.ctl("build", "--frontend=gateway.v0", "--opt", f"source={ref}", check=False)
    assert r.returncode != 0
    assert f"'{ref}' is not an allowed gateway source" in r.stderr.decode()
    assert d.stop() == 0
