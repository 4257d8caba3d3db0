"""What comes from outside is not to be trusted: layers, registries, disks."""

import http.server
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import pytest

import images
from conftest import wait_for


def build_from(daemon, ctx, ref, extra="", **kw):
    (ctx / "Dockerfile").write_text(f"FROM {ref}\nCOPY Dockerfile /d\n{extra}")
    return daemon.build(ctx, "--output", f"type=local,dest={ctx}/out", **kw)


# ---- layers ----

def outside(tmp_path):
    p = tmp_path / "outside"
    p.mkdir(exist_ok=True)
    return p


@pytest.mark.parametrize("name", ["dotdot", "absolute", "symlink", "hardlink"])
def test_layer_cannot_leave_its_root(daemon, registry, ctx, tmp_path, name):
    victim = outside(tmp_path)
    (victim / "secret").write_text("secret")
    up = "../" * 30 + str(victim)[1:]
    entries = {
        "dotdot": [(up + "/evil", "f", "x")],
        "absolute": [(str(victim) + "/evil", "f", "x")],
        "symlink": [("l", "l", str(victim)), ("l/evil", "f", "x")],
        "hardlink": [("h", "h", up + "/secret")],
    }[name]
    m, blobs = images.image([images.tar_layer(entries)])
    images.push(registry.host, "bad", name, m, blobs)
    # Refused, or kept inside: either is right, reaching outside is not.
    build_from(daemon, ctx, f"{registry.host}/bad:{name}", check=False)
    assert os.listdir(victim) == ["secret"]
    for root, _, files in os.walk(ctx / "out"):
        for f in files:
            p = pathlib.Path(root) / f
            assert p.is_symlink() or p.read_bytes() != b"secret"


def test_wrong_diff_id(daemon, registry, ctx):
    layer = images.tar_layer([("f", "f", "x")])
    m, blobs = images.image([layer], diff_ids=["sha256:" + "1" * 64])
    images.push(registry.host, "bad", "diffid", m, blobs)
    r = build_from(daemon, ctx, f"{registry.host}/bad:diffid", check=False)
    assert r.returncode == 1


@pytest.mark.parametrize("cut", [1, 100, -10])
def test_corrupt_gzip(daemon, registry, ctx, cut):
    layer = images.tar_layer([("f", "f", os.urandom(5000))])
    m, blobs = images.image([layer])
    # The blob's digest is right, its content is no whole gzip file.
    gz = next(x for x in blobs.values() if x[:2] == b"\x1f\x8b")
    bad = gz[:cut] if cut > 0 else gz[:cut] + b"\0" * -cut
    m = m.replace(images.digest(gz).encode(), images.digest(bad).encode())
    m = m.replace(f'"size": {len(gz)}'.encode(), f'"size": {len(bad)}'.encode())
    blobs = {d: x for d, x in blobs.items() if x is not gz}
    blobs[images.digest(bad)] = bad
    images.push(registry.host, "bad", "gzip", m, blobs)
    r = build_from(daemon, ctx, f"{registry.host}/bad:gzip", check=False)
    assert r.returncode == 1
    m, blobs = images.image([layer])
    images.push(registry.host, "good", "1", m, blobs)
    build_from(daemon, ctx, f"{registry.host}/good:1")


def test_whiteouts_and_hard_links(daemon, registry, ctx):
    m, blobs = images.image([
        images.tar_layer([("a", "d", None), ("a/x", "f", "x"), ("a/y", "f", "y"),
                          ("b", "d", None), ("b/z", "f", "z"), ("k", "f", "kept")]),
        images.tar_layer([("a/.wh.x", "f", ""), ("b/.wh..wh..opq", "f", ""), ("b/new", "f", "n"),
                          ("link", "h", "k")]),
    ])
    images.push(registry.host, "img", "1", m, blobs)
    build_from(daemon, ctx, f"{registry.host}/img:1")
    out = ctx / "out"
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*")) == \
        ["a", "a/y", "b", "b/new", "d", "k", "link"]
    assert (out / "link").read_text() == "kept"
    assert (out / "link").stat().st_ino == (out / "k").stat().st_ino


# ---- registries ----

class Misbehaving(http.server.BaseHTTPRequestHandler):
    mode = None
    hits = 0

    def log_message(self, *args):
        pass

    def answer(self):
        type(self).hits += 1
        if self.mode == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            self.end_headers()
            self.wfile.write(b"{")
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.mode == "huge":
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            return
        self.send_response(self.mode)
        if self.mode == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = answer


@pytest.fixture
def misbehaving():
    cls = type("H", (Misbehaving,), {})
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), cls)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    cls.host = f"localhost:{s.server_port}"
    yield cls
    s.shutdown()


@pytest.mark.parametrize("mode", [401, 403, 404, 429, 500, "cut", "huge"])
def test_registry_that_misbehaves(daemon, ctx, misbehaving, mode):
    misbehaving.mode = mode
    start = time.monotonic()
    r = build_from(daemon, ctx, f"{misbehaving.host}/x:1", check=False, timeout=100)
    assert r.returncode == 1
    assert misbehaving.host in r.stderr.decode()
    assert time.monotonic() - start < 60
    daemon.ctl("du")


# ---- disks, clients, leaks ----

def test_full_disk(daemon_factory, ctx, tmp_path):
    """The store on a small file system: the build fails with the reason, a smaller one works."""
    d = daemon_factory("small")
    d.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "small", d.root], check=True)
    try:
        d.start()
        (ctx / "big").write_bytes(os.urandom(80 << 20))
        (ctx / "Dockerfile").write_text("FROM scratch\nCOPY big /big\n")
        r = d.build(ctx, check=False, timeout=100)
        assert r.returncode == 1
        assert "no space left on device" in r.stderr.decode()
        (ctx / "big").unlink()
        (ctx / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /d\n")
        d.ctl("prune", "--all")
        d.build(ctx)
        d.stop()
    finally:
        if d.proc:
            d.stop(9)
        wait_for(lambda: subprocess.run(["umount", d.root], capture_output=True).returncode == 0)


def rss(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])


def test_nothing_leaks(daemon, ctx):
    """Descriptors, mounts and processes are back where they were after builds of every end."""
    (ctx / "Dockerfile").write_text(
        "FROM scratch\nADD base.tar /\nENV PATH=/bin\nARG N\nRUN echo $N > /x\n")
    bad = ctx / "bad"
    bad.mkdir()
    shutil.copy(ctx / "base.tar", bad)
    (bad / "Dockerfile").write_text(
        "FROM scratch\nADD base.tar /\nENV PATH=/bin\nARG N\nRUN echo $N; exit 1\n")

    def round(n):
        for i in range(n, n + 5):
            daemon.build(ctx, "--opt", f"build-arg:N={i}", "--output", f"type=local,dest={ctx}/out")
            daemon.build(bad, "--opt", f"build-arg:N={i}", check=False)

    round(0)
    wait_for(lambda: not daemon.inner_mounts())
    fds = daemon.fds()
    round(5)
    wait_for(lambda: daemon.fds() <= fds)
    wait_for(lambda: not daemon.inner_mounts() and not daemon.children())
