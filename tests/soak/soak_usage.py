"""What `du` says and what the disk has lost are the same within 2 %; prune gives it back, and so does the collection when the disk
runs short, also in the middle of a build."""

import os
import pathlib
import re
import signal
import subprocess
import time

import llbops as llb
from builds import Build, Daemon, Running, make_base
from soak_power import Disk, own_mounts

GC = """
[worker.oci]
gc = true
[[worker.oci.gcpolicy]]
all = true
minFreeSpace = "600MB"
"""


def total(d):
    r = d.ctl("du").stdout.decode()
    n, unit = re.search(r"^Total:\s+([0-9.]+)([kMGT]?)B", r, re.M).groups()
    return float(n) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[unit]


def used(disk):
    os.sync()
    st = os.statvfs(disk.mnt)
    return (st.f_blocks - st.f_bfree) * st.f_frsize


def overhead(d):
    """Metadata, and the room kept for pruning on a full disk."""
    files = [p for p in d.root.glob("metadata.db/*")] + [d.root / "room"] + \
        list(d.root.glob("runc-overlayfs/local/*"))
    return sum(p.stat().st_blocks * 512 for p in files if p.exists())


def settled(what, want, seconds=30):
    """Files of removed records go in the background."""
    end = time.monotonic() + seconds
    while not want(what()) and time.monotonic() < end:
        time.sleep(0.2)
    return what()


def compare(soak, d, disk, empty, name):
    # What belonged to steps that have just ended may still be on its way out.
    def error():
        lost = used(disk) - empty - overhead(d)
        return abs(total(d) - lost) / max(lost, 1)
    e = settled(error, lambda e: e < 0.02)
    soak.check(f"{name}: du is what the disk has lost", e < 0.02,
               f"{e * 100:.1f} % off: du {total(d):.0f}, disk {used(disk) - empty - overhead(d)}")


def copies(n, salt):
    """n steps, one after the other, that each copy the big file."""
    op, big = None, llb.local("big")
    for i in range(n):
        op = llb.file_op(op, [llb.copy(big, "/file", f"/big{salt}-{i}")])
    return llb.marshal(op)


def build_llb(d, definition, big):
    r = d.ctl("build", "--progress=plain", "--local", f"big={big}", input=definition, check=False)
    return None if r.returncode == 0 else r.stderr.decode()[-1000:]


def run(soak):
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        soak.skip("all", "needs root and loop devices")
        return
    own_mounts()
    base = make_base(soak.dir / "base")
    disk = Disk(soak.dir, 1200)
    dir = disk.mnt / "d"
    dir.mkdir()
    d = Daemon(dir, binary=soak.bin / "buildkitd", args=["--oci-worker-gc=false"])
    d.addr, d.log = f"unix://{soak.dir}/s", soak.dir / "daemon.log"
    d.config = soak.dir / "buildkitd.toml"
    d.config.write_text("")
    try:
        d.start()
        empty = used(disk) - overhead(d)
        for round in range(2 if soak.short else 10):
            r = Running(soak, d, [Build(soak.rng, round * 100 + i, base, soak.dir)
                                  for i in range(6)], 2)
            for t in r.threads:
                t.join()
            soak.check(f"round {round}: all builds are well", len(r.done) == 6, str(len(r.done)))
            compare(soak, d, disk, empty, f"round {round}")
        d.ctl("prune", "--all")
        left = settled(lambda: used(disk) - empty - overhead(d), lambda n: n < 1 << 20)
        soak.check("prune gives it all back", left < 1 << 20, f"{left} bytes are left")
        soak.check("a clean stop", d.stop() == 0)
        # Together the builds need more than there is: what the first have left must go during the later ones.
        d.args = []
        d.config.write_text(GC)
        d.start()
        big = soak.dir / "big"
        big.mkdir()
        (big / "file").write_bytes(os.urandom(16 << 20))
        for i in range(12 if soak.short else 60):
            error = build_llb(d, copies(10, i), big)
            soak.check(f"build {i} on a small disk", error is None, error)
        free = settled(lambda: os.statvfs(disk.mnt).f_bavail * os.statvfs(disk.mnt).f_frsize,
                       lambda n: n > 500 << 20, 90)
        soak.check("the policy is kept", free > 500 << 20, f"{free} bytes are free")
        soak.check("a clean stop", d.stop() == 0)
    finally:
        if d.proc:
            d.stop(signal.SIGKILL)
        disk.umount()
        subprocess.run(["rm", "-f", pathlib.Path(disk.image)])
