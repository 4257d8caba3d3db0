"""buildctl: its other commands, against both daemons."""

import re
import subprocess

import pytest

from conftest import BIN, peer


@pytest.fixture(params=["ours", "original"])
def any_daemon(request, daemon_factory):
    d = daemon_factory(binary=None if request.param == "ours" else peer("buildkitd")).start()
    yield d
    d.stop()


def test_version():
    for prog in ("buildctl", "buildkitd"):
        out = subprocess.run([BIN / prog, "--version"], capture_output=True, text=True).stdout
        assert re.fullmatch(prog + r" github.com/moby/buildkit v\S+ \S*\n", out)


def test_workers(any_daemon):
    out = any_daemon.ctl("debug", "workers").stdout.decode()
    assert re.match(r"ID\s+PLATFORMS\n\S{20,}\s+linux/amd64", out)
    out = any_daemon.ctl("debug", "workers", "-v").stdout.decode()
    assert "org.mobyproject.buildkit.worker.executor:" in out
    assert "GC Policy rule#0:" in out


def test_info(any_daemon):
    assert b"github.com/moby/buildkit" in any_daemon.ctl("debug", "info").stdout


def test_original_client_reads_ours(daemon):
    for args in (("debug", "workers", "-v"), ("debug", "info"), ("du", "-v"), ("prune",),
                 ("debug", "histories")):
        daemon.ctl(*args, client=peer("buildctl"))


def test_build_du_prune(any_daemon, ctx, tmp_path):
    (ctx / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (ctx / "f").write_text("x" * 10000)
    any_daemon.build(ctx, "--output", f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/f").read_text() == "x" * 10000
    out = any_daemon.ctl("du").stdout.decode()
    assert "RECLAIMABLE" in out and re.search(r"^Total:\s+\S+B$", out, re.M)
    assert "COPY f /f" in any_daemon.ctl("du", "-v").stdout.decode()
    out = any_daemon.ctl("prune", "--all").stdout.decode()
    assert re.search(r"^Total:", out, re.M)
    out = any_daemon.ctl("du").stdout.decode()
    assert re.search(r"^Total:\s+0B$", out, re.M)


def test_dial_stdio(daemon, ctx):
    """A client behind dial-stdio, as in a container or over ssh."""
    r = subprocess.run([BIN / "buildctl", "--addr", daemon.addr, "dial-stdio"],
                       input=b"", capture_output=True, timeout=20)
    assert r.returncode == 0


def test_llb_on_stdin(any_daemon, tmp_path):
    """One mkfile: Definition{def: [Op{file{mkfile}}, Op{input}]} by hand."""
    import hashlib

    def field(n, data):
        size = len(data)
        out = bytes([n << 3 | 2])
        while size > 127:
            out += bytes([size & 127 | 128])
            size >>= 7
        return out + bytes([size]) + data

    minus_one = b"\xff" * 9 + b"\x01"
    mkfile = field(1, b"/foo") + b"\x10" + b"\xa4\x03" + field(3, b"data") + b"\x28" + minus_one
    action = b"\x08" + minus_one + b"\x10" + minus_one + field(5, mkfile)
    op = field(4, field(2, action))
    last = field(1, field(1, b"sha256:" + hashlib.sha256(op).hexdigest().encode()))
    any_daemon.ctl("build", "--output", f"type=local,dest={tmp_path}/out",
                   input=field(1, op) + field(1, last))
    assert (tmp_path / "out/foo").read_text() == "data"


@pytest.mark.parametrize("args,text", [
    (("build", "--output", "dest=x"), "--output requires type=<type>"),
    (("build", "--progress=what"), "invalid progress mode what"),
    (("build", "--output", "type=local"), "output directory is required for local exporter"),
    (("nope",), "No help topic for 'nope'"),
    (("--bogus",), "flag provided but not defined: -bogus"),
])
def test_usage_errors(args, text):
    r = subprocess.run([BIN / "buildctl", *args], capture_output=True, text=True,
                       stdin=subprocess.DEVNULL)
    assert r.returncode == 1
    assert f"error: {text}" in r.stderr


def test_no_daemon(tmp_path):
    r = subprocess.run([BIN / "buildctl", "--addr", f"unix://{tmp_path}/none", "du"],
                       capture_output=True, text=True)
    assert r.returncode == 1
    assert "make sure buildkitd is running" in r.stderr
