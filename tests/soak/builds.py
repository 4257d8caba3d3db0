"""Random builds whose results tell by themselves whether they are whole, and daemons to run them on."""

import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from conftest import BIN, Daemon, make_rootfs  # noqa: E402

# Makes files of random bytes and SUMS of them in /out/NAME: nobody else has the same, so a result that was lost and made
# anew differs, and one that is torn does not fit its own sums.
MAKE = """\
set -e; d=/out/$1; n=$2; mkdir -p $d; cd $d; i=0
while [ $i -lt $n ]; do dd if=/dev/urandom of=f$i bs=$((i * 997 + 1)) count=1 2>/dev/null; i=$((i + 1)); done
mkdir sub; ln f0 sub/hard; ln -s ../f1 sub/soft; mv f2 moved; rm -f f3
sha256sum f* moved > SUMS
"""


def make_base(dir):
    """A directory with base.tar, a busybox root file system with the script `make`."""
    dir.mkdir(parents=True)
    root = make_rootfs(dir / "rootfs")
    for name in ["sha256sum"]:
        (root / "bin" / name).symlink_to("busybox")
    (root / "bin" / "make").write_text("#!/bin/sh\n" + MAKE)
    (root / "bin" / "make").chmod(0o755)
    subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "--mtime=@0", "--sort=name",
                    "-cf", dir / "base.tar", "."], check=True)
    shutil.rmtree(root)
    return dir


class Build:
    """One of the random builds: what it needs, and what came out of it when it was finished."""

    def __init__(self, rng, number, base, dir, variants=12):
        self.number = number
        self.name = f"b{number}"
        self.dir = dir / self.name
        self.dir.mkdir()
        self.files = {}
        self.finished_at = None
        self.sums = None
        # Some steps are the same in many builds, so they share and wait for each other.
        self.shared = f"s{rng.randrange(variants)}"
        self.size = rng.choice([4, 8, 20])
        self.merges = rng.random() < 0.5
        self.mount = rng.random() < 0.4
        self.kind = rng.choice(["local", "tar", "oci", "none"])
        # The context is the same directory for all, as a user's is; its content changes.
        os.link(base / "base.tar", self.dir / "base.tar")
        for i in range(rng.randrange(1, 30)):
            data = rng.randbytes(rng.choice([0, 1, 100, 5000, 70000]))
            self.files[f"d{i % 4}/f{i}"] = data
        for name, data in self.files.items():
            p = self.dir / "src" / name
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_bytes(data)
        (self.dir / "Dockerfile").write_text(self.dockerfile())

    def dockerfile(self):
        mount = "--mount=type=cache,target=/cache,id=c%d " % (self.number % 3) if self.mount else ""
        touch = f" && make cached{self.name} 4 && cp -r /out/cached{self.name} /cache/x$$ " \
            if self.mount else ""
        link = "--link " if self.merges else ""
        return f"""\
FROM scratch AS base
ADD base.tar /
ENV PATH=/bin
FROM base AS shared
RUN make {self.shared} {self.size}
FROM base AS own
RUN {mount}make {self.name} {self.size}{touch}
RUN rm -rf /out/cached* && cd /out/{self.name} && mv f0 again && echo more > f1 && sha256sum f* again moved > SUMS
FROM base
COPY {link}--from=shared /out /out
COPY {link}--from=own /out/{self.name} /out/{self.name}
COPY {link}src /src
"""

    def output(self):
        if self.kind == "local":
            return ["--output", f"type=local,dest={self.dir}/result"]
        if self.kind == "none":
            return []
        return ["--output", f"type={self.kind},dest={self.dir}/result"]

    def args(self, daemon, output=None):
        return [BIN / "buildctl", "--addr", daemon.addr, "build", "--progress=plain",
                "--frontend=dockerfile.v0", "--local", f"context={self.dir}", "--local",
                f"dockerfile={self.dir}", *(self.output() if output is None else output)]

    def read_result(self):
        """Path -> bytes of the regular files of the result."""
        res = self.dir / "result"
        if res.is_dir():
            return {str(p.relative_to(res)): p.read_bytes() for p in res.rglob("*")
                    if p.is_file() and not p.is_symlink()}
        if self.kind == "oci":
            return self.read_oci(res)
        with tarfile.open(res) as t:
            return read_tar(t)

    @staticmethod
    def read_oci(path):
        import json
        files = {}
        with tarfile.open(path) as t:
            def blob(d):
                data = t.extractfile("blobs/sha256/" + d.split(":")[1]).read()
                assert "sha256:" + hashlib.sha256(data).hexdigest() == d, f"{d} is torn"
                return data
            desc = json.load(t.extractfile("index.json"))["manifests"][0]
            m = json.loads(blob(desc["digest"]))
            if "manifests" in m:
                m = json.loads(blob(m["manifests"][0]["digest"]))
            import io
            for layer in m["layers"]:
                with tarfile.open(fileobj=io.BytesIO(blob(layer["digest"]))) as lt:
                    files.update(read_tar(lt))
        return files

    def check_result(self, files):
        """What is wrong with it, or None; and what tells it from any other."""
        want = {"src/" + k: v for k, v in self.files.items()}
        got = {k: v for k, v in files.items() if k.startswith("src/")}
        if got != want:
            bad = [k for k in set(got) | set(want) if got.get(k) != want.get(k)]
            return f"context differs: {bad[:5]}", None
        sums = {}
        for dir in (f"out/{self.shared}", f"out/{self.name}"):
            text = files.get(dir + "/SUMS")
            if not text:
                return f"{dir}/SUMS is missing or empty", None
            for line in text.decode().splitlines():
                h, name = line.split(None, 1)
                data = files.get(f"{dir}/{name}")
                if data is None or hashlib.sha256(data).hexdigest() != h:
                    return f"{dir}/{name} is torn", None
            sums[dir] = text
        return None, sums


def read_tar(t):
    files, links = {}, {}
    for i in t:
        name = i.name.removeprefix("./")
        if i.isreg():
            files[name] = t.extractfile(i).read()
        elif i.islnk():
            links[name] = i.linkname.removeprefix("./")
    for name, to in links.items():
        if to in files:
            files[name] = files[to]
    return files


class Running:
    """Builds on a daemon, several at a time, until it is killed."""

    def __init__(self, soak, daemon, builds, count):
        self.soak, self.daemon, self.todo = soak, daemon, list(builds)
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work) for _ in range(count)]
        self.done = []
        self.procs = set()
        self.stopped = False
        for t in self.threads:
            t.start()

    def work(self):
        while True:
            with self.lock:
                if self.stopped or not self.todo:
                    return
                b = self.todo.pop()
                out = b.dir / "log"
                res = b.dir / "result"
                shutil.rmtree(res) if res.is_dir() else res.unlink(missing_ok=True)
                with open(out, "wb") as log:
                    p = subprocess.Popen(b.args(self.daemon), stderr=log, stdout=log)
                self.procs.add(p)
            code = p.wait()
            with self.lock:
                self.procs.discard(p)
                if code == 0 and not self.stopped:
                    b.finished_at = time.monotonic()
                    self.done.append(b)

    def stop_new(self):
        """Lets those go on that have begun."""
        with self.lock:
            self.todo = []
        for t in self.threads:
            t.join()

    def stop(self):
        """The daemon is gone: its clients see that by themselves."""
        with self.lock:
            self.stopped = True
        for t in self.threads:
            t.join()


def rebuild(daemon, build):
    """The result as the daemon serves it now: (what is wrong or None, sums)."""
    kind, build.kind = build.kind, "tar"
    res = build.dir / "result"
    shutil.rmtree(res) if res.is_dir() else res.unlink(missing_ok=True)
    try:
        r = subprocess.run(build.args(daemon), capture_output=True, timeout=120)
        if r.returncode:
            return "build failed: " + r.stderr.decode()[-3000:], None
        return build.check_result(build.read_result())
    finally:
        build.kind = kind


def storecheck(soak, root, *words, wrap=()):
    """None, or what the checker has found."""
    tool = soak.build / "meson" / "tests" / "soak" / "storecheck"
    r = subprocess.run([*wrap, tool, root, *words], capture_output=True, text=True)
    return None if r.returncode == 0 else (r.stdout + r.stderr)[-3000:]


__all__ = ["Build", "Daemon", "Running", "make_base", "rebuild", "storecheck", "signal", "re"]
