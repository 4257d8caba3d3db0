"""End-to-end tests: real clients against the daemon in $BK_BIN, and our client against the
original daemon. The originals are looked for in $BK_PEERS, or where the conformance kit
puts them; what is missing is skipped with that reason."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

BIN = pathlib.Path(os.environ.get("BK_BIN", "build/bin")).resolve()
PEERS = pathlib.Path(os.environ.get(
    "BK_PEERS", os.path.expanduser("~/.cache/buildkit-c-conformance/peers")))


def peer(name):
    p = PEERS / name
    if not p.exists():
        pytest.skip(f"the original {name} is not here ({p})")
    return p


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, seconds=20, every=0.02):
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        assert time.monotonic() < end, f"timed out waiting for {what}"
        time.sleep(every)


class Daemon:
    """A buildkitd on a root and a socket of its own."""

    def __init__(self, dir, binary=None, config="", args=(), env=None, wrap=()):
        self.dir = dir
        self.binary = binary or BIN / "buildkitd"
        self.root = dir / "root"
        self.addr = f"unix://{dir}/s"
        self.config = dir / "buildkitd.toml"
        self.config.write_text(config)
        self.args = list(args)
        self.env = env
        self.wrap = list(wrap)
        self.proc = None
        self.log = dir / "daemon.log"

    def start(self):
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(
                [*self.wrap, self.binary, "--root", self.root, "--addr", self.addr, "--config", self.config,
                 "--otel-socket-path", self.dir / "otel", "--containerd-worker=false",
                 "--oci-worker-net=host", *self.args],
                stderr=log, stdout=log, env=self.env)
        wait_for(lambda: self.proc.poll() is not None or self.ping())
        assert self.proc.poll() is None, self.log.read_text()[-4000:]
        return self

    def ping(self):
        return self.ctl("debug", "info", check=False).returncode == 0

    def stop(self, sig=signal.SIGTERM):
        if not self.proc:
            return None
        self.proc.send_signal(sig)
        try:
            code = self.proc.wait(30)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise
        self.proc = None
        return code

    def ctl(self, *args, client=None, check=True, **kw):
        kw.setdefault("capture_output", True)
        kw.setdefault("timeout", 120)
        r = subprocess.run([client or BIN / "buildctl", "--addr", self.addr, *map(str, args)], **kw)
        if check:
            assert r.returncode == 0, (r.stderr or b"").decode()[-4000:] + \
                self.log.read_text()[-2000:]
        return r

    def build(self, ctx, *args, client=None, check=True, **kw):
        return self.ctl("build", "--progress=plain", "--frontend=dockerfile.v0", "--local",
                        f"context={ctx}", "--local", f"dockerfile={ctx}", *args, client=client,
                        check=check, **kw)

    def mounts(self):
        """Lines of the host's mount table that have to do with our root."""
        return [x for x in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if str(self.dir) in x]

    def fds(self):
        return len(os.listdir(f"/proc/{self.proc.pid}/fd"))

    def inner_mounts(self):
        """The same in the daemon's own namespace, without what is there for its whole life."""
        text = pathlib.Path(f"/proc/{self.proc.pid}/mountinfo").read_text()
        return [x for x in text.splitlines() if str(self.root) in x and "/secrets " not in x]

    def children(self):
        out = subprocess.run(["pgrep", "-l", "-P", str(self.proc.pid)], capture_output=True,
                             text=True)
        # One cleans up after the daemon should it be killed, and ends with it.
        return [x for x in out.stdout.splitlines() if not x.endswith("exec-reaper")]


@pytest.fixture
def daemon_factory(tmp_path):
    made = []

    def make(name="d", **kw):
        dir = tmp_path / name
        dir.mkdir()
        d = Daemon(dir, **kw)
        made.append(d)
        return d

    yield make
    for d in made:
        if d.proc:
            d.stop(signal.SIGKILL)


@pytest.fixture
def daemon(daemon_factory):
    """Ours, and nothing may be left of it at the end."""
    d = daemon_factory().start()
    yield d
    if d.proc:
        wait_for(lambda: not d.children())
        assert d.inner_mounts() == []
        assert d.stop() == 0, d.log.read_text()[-4000:]
    assert d.mounts() == []
    left = [p for p in (d.root / "runc-overlayfs" / "tmp").glob("*")]
    assert left == []


@pytest.fixture(params=["ours", "original"])
def client(request):
    return BIN / "buildctl" if request.param == "ours" else peer("buildctl")


def make_rootfs(dir):
    """A root file system of nothing but busybox."""
    bb = shutil.which("busybox")
    (dir / "bin").mkdir(parents=True)
    (dir / "tmp").mkdir()
    shutil.copy(bb, dir / "bin" / "busybox")
    for name in "sh cat echo ls sleep mkdir touch rm cp mv ln chmod id env pwd true false test " \
                "printf seq dd wc stat find sort head tail grep mount hostname kill ps".split():
        (dir / "bin" / name).symlink_to("busybox")
    return dir


@pytest.fixture
def ctx(tmp_path):
    """A context whose base.tar is a busybox root file system."""
    dir = tmp_path / "ctx"
    dir.mkdir()
    root = make_rootfs(tmp_path / "rootfs")
    subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "--mtime=@0", "--sort=name",
                    "-cf", dir / "base.tar", "."], check=True)
    return dir


class Registry:
    def __init__(self, dir, tls=False, auth=None):
        self.port = free_port()
        self.host = f"localhost:{self.port}"
        self.dir = dir
        dir.mkdir()
        http = f"http:\n  addr: 127.0.0.1:{self.port}\n"
        self.ca = None
        if tls:
            self.make_certs()
            http += f"  tls:\n    certificate: {dir}/cert.pem\n    key: {dir}/key.pem\n"
        cfg = dir / "config.yml"
        cfg.write_text(f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n"
                       f"    rootdirectory: {dir}/data\n  delete:\n    enabled: true\n{http}")
        self.proc = subprocess.Popen(["docker-registry", "serve", cfg],
                                     stdout=open(dir / "log", "w"), stderr=subprocess.STDOUT)
        wait_for(self.up)

    def up(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def make_certs(self):
        d = self.dir
        run = lambda *a: subprocess.run(a, check=True, capture_output=True)
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
            "/CN=test ca", "-keyout", d / "ca.key", "-out", d / "ca.pem")
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
            "-keyout", d / "key.pem", "-out", d / "csr.pem")
        (d / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        run("openssl", "x509", "-req", "-in", d / "csr.pem", "-CA", d / "ca.pem", "-CAkey",
            d / "ca.key", "-CAcreateserial", "-days", "30", "-extfile", d / "ext", "-out",
            d / "cert.pem")
        self.ca = d / "ca.pem"

    def stop(self):
        self.proc.kill()
        self.proc.wait()


@pytest.fixture
def registry_factory(tmp_path):
    made = []

    def make(name="registry", **kw):
        if not shutil.which("docker-registry"):
            pytest.skip("docker-registry is not installed")
        r = Registry(tmp_path / name, **kw)
        made.append(r)
        return r

    yield make
    for r in made:
        r.stop()


@pytest.fixture
def registry(registry_factory):
    return registry_factory()
