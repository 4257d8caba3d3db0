"""The store outlives the daemon; nothing else does."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from conftest import BIN, wait_for

DF = """\
FROM scratch
ADD base.tar /
ENV PATH=/bin
RUN echo one > /one
RUN echo two > /two
"""


def cached(stderr):
    return stderr.decode().count(" CACHED")


def test_sigterm_keeps_the_cache(daemon, ctx):
    (ctx / "Dockerfile").write_text(DF)
    daemon.build(ctx)
    assert daemon.stop() == 0
    assert daemon.mounts() == []
    daemon.start()
    r = daemon.build(ctx)
    assert cached(r.stderr) == 3, r.stderr.decode()


def in_step():
    """Processes of a step under way: they sleep for a telling time."""
    r = subprocess.run(["pgrep", "-f", "sleep 4321"], capture_output=True, text=True)
    return r.stdout.split()


def cgroups():
    """Of steps, of whatever daemon."""
    return {p for p in pathlib.Path("/sys/fs/cgroup").glob("**/buildkit/*") if p.is_dir()}


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_killed_in_a_step(daemon, ctx, sig):
    before = cgroups()
    (ctx / "Dockerfile").write_text(DF + "RUN sleep 4321\n")
    p = subprocess.Popen([BIN / "buildctl", "--addr", daemon.addr, "build", "--progress=plain",
                          "--frontend=dockerfile.v0", "--local", f"context={ctx}", "--local",
                          f"dockerfile={ctx}"], stderr=subprocess.PIPE)
    wait_for(in_step)
    # What is finished is on disk within a second.
    time.sleep(1.5)
    daemon.stop(sig)
    assert p.wait(20) == 1
    assert daemon.mounts() == []
    daemon.start()
    wait_for(lambda: not in_step())
    assert daemon.inner_mounts() == []
    (ctx / "Dockerfile").write_text(DF)
    r = daemon.build(ctx)
    assert cached(r.stderr) == 3, r.stderr.decode()
    assert cgroups() <= before


def test_second_daemon_on_the_root(daemon, tmp_path):
    r = subprocess.run([BIN / "buildkitd", "--root", daemon.root, "--addr",
                        f"unix://{tmp_path}/other"], capture_output=True, text=True, timeout=20)
    assert r.returncode == 1
    assert f"could not lock {daemon.root}/buildkitd.lock, another instance running?" in r.stderr


def test_client_vanishes(daemon, ctx):
    (ctx / "Dockerfile").write_text(DF + "RUN sleep 4321\n")
    p = subprocess.Popen([BIN / "buildctl", "--addr", daemon.addr, "build",
                          "--frontend=dockerfile.v0", "--local", f"context={ctx}", "--local",
                          f"dockerfile={ctx}"], stderr=subprocess.DEVNULL)
    wait_for(in_step)
    p.kill()
    p.wait()
    wait_for(lambda: not in_step())
    (ctx / "Dockerfile").write_text(DF)
    daemon.build(ctx)
