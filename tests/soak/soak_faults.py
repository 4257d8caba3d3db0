"""A full or broken disk: the n-th change of the store's file system fails with ENOSPC or EIO, once or from then on, for all n that
a build and a prune have. The daemon lives on, says what was wrong, and when the disk is well again so is everything else."""

import errno
import mmap
import os
import signal
import struct
import subprocess

from builds import Build, Daemon, Running, make_base, rebuild, storecheck
from soak_power import own_mounts

SIZE = 8 * 5 + 32


class Plan:
    """See faults.c."""

    def __init__(self, file):
        file.write_bytes(bytes(SIZE))
        self.file = open(file, "r+b")
        self.map = mmap.mmap(self.file.fileno(), SIZE)

    def set(self, left, error=0, stay=0):
        self.map[:SIZE] = struct.pack("<5q", left, error, stay, 0, 0) + bytes(32)

    def end(self):
        """(calls, hits, name of the last that failed); no more failures."""
        left, error, stay, calls, hits = struct.unpack("<5q", self.map[:40])
        last = self.map[40:72].rstrip(b"\0").decode()
        self.set(0)
        return calls, hits, last


def attempt(soak, d, plan, base, number, n):
    """One build and a prune with the n-th call failing. Returns the number of calls."""
    error = soak.rng.choice([errno.ENOSPC, errno.ENOSPC, errno.EIO])
    stay = soak.rng.random() < 0.3
    b = Build(soak.rng, number, base, soak.dir)
    b.kind = "oci"
    if not n:
        b.mount = b.merges = True
    plan.set(n, error, stay)
    r = Running(soak, d, [b], 1)
    r.threads[0].join()
    log = (b.dir / "log").read_text()
    if soak.rng.random() < 0.2:
        d.ctl("prune", "--keep-storage", "1", check=False)
    calls, hits, last = plan.end()
    what = f"call {n} of {calls} ({last}: {errno.errorcode[error]}{' and on' if stay else ''})"
    if not soak.check(f"{what}: the daemon lives", d.proc.poll() is None, d.log.read_text()[-3000:]):
        d.start()
    if r.done:
        bad, _ = b.check_result(b.read_result())
        soak.check(f"{what}: a build that says it is well is", bad is None, bad)
    else:
        text = os.strerror(error).lower()
        soak.check(f"{what}: the build failed for that", hits and text in log.lower(), log[-1500:])
    bad, _ = rebuild(d, b)
    soak.check(f"{what}: the next build is well", bad is None, bad)
    subprocess.run(["rm", "-rf", b.dir])
    return calls


def run(soak):
    if os.geteuid() != 0:
        soak.skip("all", "needs root")
        return
    own_mounts()
    base = make_base(soak.dir / "base")
    dir = soak.dir / "d"
    dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "soak", dir], check=True)
    plan = Plan(soak.dir / "plan")
    env = dict(os.environ, LD_PRELOAD=str(soak.build / "meson/tests/soak/faults.so"),
               FAULTS_DIR=str(dir), FAULTS_PLAN=str(soak.dir / "plan"))
    d = Daemon(dir, binary=soak.bin / "buildkitd", env=env)
    d.log = soak.dir / "daemon.log"
    try:
        d.start()
        number = 1
        calls = attempt(soak, d, plan, base, number, 0)
        soak.say(f"{calls} calls a build")
        soak.check("calls are counted", calls > 50, str(calls))
        # All of them in turn, or so many that it takes a minute.
        points = list(range(1, calls + calls // 4))
        soak.rng.shuffle(points)
        for i, n in enumerate(points[:40] if soak.short else points * 2):
            number += 1
            attempt(soak, d, plan, base, number, n)
            if i % 40 == 39:
                soak.check("a clean stop", d.stop() == 0)
                # A failed step leaves its tree for a look.
                bad = storecheck(soak, d.root, "nosums")
                if not soak.check("store", bad is None, bad):
                    subprocess.run(["cp", "-a", d.root, soak.dir / f"bad{i}"])
                d.start()
                d.ctl("prune", "--keep-storage", "100")
        d.ctl("prune", "--all")
        soak.check("a clean stop", d.stop() == 0)
        bad = storecheck(soak, d.root, "empty")
        soak.check("nothing is left", bad is None, bad)
    finally:
        if d.proc:
            d.stop(signal.SIGKILL)
        subprocess.run(["umount", "-l", dir], check=False)
