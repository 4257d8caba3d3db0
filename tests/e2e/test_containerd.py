"""The containerd worker: builds on a real containerd of its own, its images, its restarts."""

import json
import shutil
import signal
import subprocess
import time

import pytest

from conftest import wait_for
from llb import Graph

DOCKERFILE = """\
FROM scratch AS b
ADD base.tar /
RUN echo one > /one && rm /bin/wc
RUN --mount=type=cache,target=/c echo 1 >> /c/n && cp /c/n /n
FROM scratch
COPY --from=b /one /n /
"""


class Containerd:
    def __init__(self, dir):
        if not shutil.which("containerd"):
            pytest.skip("containerd is not installed")
        dir.mkdir()
        self.dir = dir
        self.sock = dir / "c.sock"
        (dir / "config.toml").write_text(
            f'version = 2\nroot = "{dir}/root"\nstate = "{dir}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{self.sock}"\n[ttrpc]\n  address = "{self.sock}.ttrpc"\n')
        self.start()

    def start(self):
        self.proc = subprocess.Popen(["containerd", "--config", self.dir / "config.toml"],
                                     stdout=open(self.dir / "log", "ab"), stderr=subprocess.STDOUT)
        wait_for(lambda: self.ctr("version", check=False).returncode == 0)

    def stop(self):
        self.proc.terminate()
        self.proc.wait(20)

    def ctr(self, *args, check=True):
        r = subprocess.run(["ctr", "-a", self.sock, "-n", "buildkit", *args], capture_output=True,
                           text=True, timeout=60)
        assert not check or r.returncode == 0, r.stderr
        return r

    def collect(self):
        """A round of garbage collection, at the end of a lease."""
        self.ctr("leases", "create", "--id", "tmp")
        self.ctr("leases", "delete", "--sync", "tmp")

    def rows(self, *args):
        return [x.split() for x in self.ctr(*args).stdout.splitlines()[1:]]


@pytest.fixture
def ctd(tmp_path):
    c = Containerd(tmp_path / "containerd")
    yield c
    c.stop()
    for line in open("/proc/self/mountinfo").read().splitlines():
        if str(tmp_path) in line:
            subprocess.run(["umount", "-l", line.split()[4]])


@pytest.fixture
def daemon(daemon_factory, ctd):
    """With nothing but the containerd worker; at the end nothing of it runs or is mounted."""
    d = daemon_factory(args=["--oci-worker=false", "--containerd-worker=true",
                             f"--containerd-worker-addr={ctd.sock}",
                             "--containerd-worker-net=host"]).start()
    yield d
    if d.proc:
        assert d.stop() == 0, d.log.read_text()[-4000:]
    assert wait_for(lambda: ctd.rows("containers", "ls") == [])
    assert ctd.rows("tasks", "ls") == []
    assert [x for x in d.mounts() if str(d.root) in x] == []


def write(ctx, text=DOCKERFILE):
    (ctx / "Dockerfile").write_text(text)


def test_build_and_cache(daemon, ctx, tmp_path):
    write(ctx)
    daemon.build(ctx, "--output", f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/one").read_text() == "one\n"
    r = daemon.build(ctx, "--output", f"type=local,dest={tmp_path}/out")
    assert r.stderr.decode().count("CACHED") >= 3
    daemon.stop()
    daemon.start()
    r = daemon.build(ctx, "--output", f"type=local,dest={tmp_path}/out")
    assert r.stderr.decode().count("CACHED") >= 3


def test_labels(daemon):
    out = daemon.ctl("debug", "workers", "-v").stdout.decode()
    for want in ["worker.executor:", "containerd.uuid:", "containerd.namespace:"]:
        assert want in out


def test_exit_code_and_output(daemon, ctx):
    write(ctx, "FROM scratch\nADD base.tar /\nRUN seq 1 20000; echo to-err >&2; exit 7\n")
    r = daemon.build(ctx, check=False)
    err = r.stderr.decode()
    assert "exit code: 7" in err and "to-err" in err


def test_all_output_is_there(daemon, ctx):
    """More than a FIFO holds, at the very end of the process."""
    write(ctx, "FROM scratch\nADD base.tar /\nRUN seq 1 30000\n")
    env = {"BUILDKIT_STEP_LOG_MAX_SIZE": "-1", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    daemon.stop()
    daemon.env = env
    daemon.start()
    err = daemon.build(ctx).stderr.decode()
    lines = [x.split()[-1] for x in err.splitlines() if x.split() and x.split()[-1].isdigit()]
    assert lines[-1] == "30000" and len(lines) >= 30000


def test_same_image_as_oci_worker(daemon, daemon_factory, ctx):
    other = daemon_factory("other").start()
    write(ctx)
    got = []
    for d in (daemon, other):
        meta = d.dir / "meta"
        d.build(ctx, "--output", "type=oci,rewrite-timestamp=true", "--opt",
                "build-arg:SOURCE_DATE_EPOCH=0", "--metadata-file", meta, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, capture_output=False)
        got.append(json.loads(meta.read_text())["containerimage.digest"])
    assert got[0] == got[1]


def test_image_store(daemon, ctd, ctx):
    write(ctx)
    daemon.build(ctx, "--output", "type=image,name=example.com/a/b:c,unpack=true")
    assert ctd.rows("images", "ls")[0][0] == "example.com/a/b:c"
    # The cache goes, the image stays whole.
    daemon.ctl("prune", "--all")
    assert "ID:" not in daemon.ctl("du", "-v").stdout.decode()
    ctd.collect()
    row = ctd.rows("images", "check")[0]
    assert "complete" in row and row[-1] == "true"
    # Another build of that name takes it over; without store it does not.
    write(ctx, DOCKERFILE + "COPY Dockerfile /\n")
    before = ctd.rows("images", "ls")[0][2]
    daemon.build(ctx, "--output", "type=image,name=example.com/a/b:c,store=false")
    assert ctd.rows("images", "ls")[0][2] == before
    daemon.build(ctx, "--output", "type=image,name=example.com/a/b:c")
    assert ctd.rows("images", "ls")[0][2] != before
    ctd.ctr("images", "rm", "--sync", "example.com/a/b:c")
    daemon.ctl("prune", "--all")
    wait_for(lambda: ctd.rows("content", "ls") == [] and ctd.rows("snapshots", "ls") == [])


def test_runs_unpacked(daemon, ctd, ctx):
    write(ctx, "FROM scratch\nADD base.tar /\nRUN echo made > /made\n")
    daemon.build(ctx, "--output", "type=image,name=example.com/run:1,unpack=true")
    r = ctd.ctr("run", "--rm", "example.com/run:1", "x1", "/bin/cat", "/made")
    assert r.stdout == "made\n"


def test_collection_leaves_the_cache(daemon, ctd, ctx, tmp_path):
    """containerd's collection runs when something is removed: what the lease has stays."""
    write(ctx)
    daemon.build(ctx, "--output", f"type=oci,dest={tmp_path}/a.tar")
    ctd.collect()
    r = daemon.build(ctx, "--output", f"type=oci,dest={tmp_path}/b.tar")
    assert r.stderr.decode().count("CACHED") >= 3


def test_restart_of_containerd(daemon, ctd, ctx, tmp_path):
    write(ctx)
    daemon.build(ctx, "--output", f"type=local,dest={tmp_path}/out")
    ctd.stop()
    ctd.start()
    daemon.build(ctx, "--no-cache", "--output", f"type=local,dest={tmp_path}/out")
    # Away while a build begins: it waits.
    ctd.stop()
    write(ctx, DOCKERFILE.replace("one", "two"))
    p = subprocess.Popen([*daemon_cmd(daemon, ctx), "--output", f"type=local,dest={tmp_path}/out2"],
                         stderr=subprocess.PIPE)
    time.sleep(0.5)
    assert p.poll() is None
    ctd.start()
    err = p.communicate(timeout=60)[1].decode()
    assert p.returncode == 0, err
    assert (tmp_path / "out2/two").read_text() == "two\n"


def daemon_cmd(d, ctx):
    from conftest import BIN
    return [BIN / "buildctl", "--addr", d.addr, "build", "--progress=plain",
            "--frontend=dockerfile.v0", "--local", f"context={ctx}", "--local",
            f"dockerfile={ctx}"]


def test_restart_under_a_step(daemon, ctd, ctx, tmp_path):
    write(ctx, "FROM scratch AS b\nADD base.tar /\n"
               "RUN echo begun; for i in 1 2 3 4 5 6 7 8; do sleep 0.5; done; echo done > /done\n"
               "FROM scratch\nCOPY --from=b /done /\n")
    p = subprocess.Popen([*daemon_cmd(daemon, ctx), "--output", f"type=local,dest={tmp_path}/out"],
                         stderr=subprocess.PIPE)
    wait_for(lambda: ctd.rows("tasks", "ls") != [])
    ctd.stop()
    ctd.start()
    err = p.communicate(timeout=60)[1].decode()
    assert p.returncode == 0, err
    assert (tmp_path / "out/done").read_text() == "done\n"


def test_cancelled_step(daemon, ctd, ctx):
    write(ctx, "FROM scratch\nADD base.tar /\nRUN sleep 1000\n")
    p = subprocess.Popen(daemon_cmd(daemon, ctx), stderr=subprocess.DEVNULL)
    wait_for(lambda: ctd.rows("tasks", "ls") != [])
    p.send_signal(signal.SIGINT)
    p.wait(30)
    wait_for(lambda: ctd.rows("tasks", "ls") == [])


def test_killed_daemon(daemon, ctd, ctx, tmp_path):
    """What a killed daemon leaves in containerd and in the mount table goes at the next start."""
    write(ctx, "FROM scratch\nADD base.tar /\nRUN sleep 1000\n")
    p = subprocess.Popen(daemon_cmd(daemon, ctx), stderr=subprocess.DEVNULL)
    wait_for(lambda: ctd.rows("tasks", "ls") != [])
    daemon.stop(signal.SIGKILL)
    p.wait(30)
    daemon.start()
    assert ctd.rows("tasks", "ls") == []
    write(ctx)
    daemon.build(ctx, "--output", f"type=local,dest={tmp_path}/out")


def test_with_oci_worker(daemon_factory, ctd, ctx, tmp_path):
    """Both in one daemon: a tree goes from the one to the other and back."""
    d = daemon_factory(args=["--containerd-worker=true", f"--containerd-worker-addr={ctd.sock}",
                             "--containerd-worker-net=host"]).start()
    oci = ['labels."org.mobyproject.buildkit.worker.executor"==oci']
    con = ['labels."org.mobyproject.buildkit.worker.executor"==containerd']
    g = Graph()
    one = g.run(g.copy_all(g.local("root", oci), oci), ["sh", "-c", "echo 1 > /1"], oci)
    two = g.run(one, ["sh", "-c", "cat /1 > /2; rm /1"], con)
    end = g.run(two, ["sh", "-c", "cat /2 > /3; test ! -e /1"], oci)
    d.ctl("build", "--progress=plain", "--local", f"root={tmp_path}/rootfs", "--output",
          f"type=local,dest={tmp_path}/out", input=g.definition(end))
    assert (tmp_path / "out/3").read_text() == "1\n"
    merged = g.merge([g.run(one, ["sh", "-c", f"echo {i} > /m{i}"], con) for i in range(3)], con)
    d.ctl("build", "--progress=plain", "--local", f"root={tmp_path}/rootfs", "--output",
          f"type=local,dest={tmp_path}/out3", input=g.definition(merged))
    assert [(tmp_path / f"out3/m{i}").read_text() for i in range(3)] == ["0\n", "1\n", "2\n"]
    assert d.stop() == 0


def test_missing_containerd(daemon_factory, tmp_path):
    """Asked for, it is waited for; by itself, a socket that is not there is no worker."""
    d = daemon_factory(args=["--containerd-worker=auto",
                             f"--containerd-worker-addr={tmp_path}/none.sock"]).start()
    assert d.ctl("debug", "workers").stdout.decode().count("\n") == 2
