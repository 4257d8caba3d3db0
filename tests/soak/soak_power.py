"""Power loss: the root is on an ext4 of its own, which is shut down in the middle of builds (what was not on the disk is gone),
mounted again and served under another boot id. Nothing torn is shown, and what had been synced is there."""

import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import time
import uuid

from builds import Build, Daemon, Running, make_base, rebuild, storecheck

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
# What a daemon needs at most on a busy machine until a finished build is on the disk: some seconds until its sync begins,
# the sync, and a second until the record of that is synced.
SYNCED_AFTER = 15


CLONE_NEWNS = 0x20000


def own_mounts():
    """Else a namespace that somebody makes meanwhile would hold the disk."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class Disk:
    def __init__(self, dir, megabytes):
        self.image = dir / "disk.img"
        self.mnt = dir / "mnt"
        self.mnt.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        self.run("mkfs.ext4", "-q", "-F", self.image)
        self.mounted = False
        self.mount()

    @staticmethod
    def run(*args):
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL)

    def mount(self):
        self.run("mount", "-o", "loop", self.image, self.mnt)
        self.mounted = True

    def cut(self):
        fd = os.open(self.mnt, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def umount(self):
        end = time.monotonic() + 20
        while self.mounted:
            r = subprocess.run(["umount", self.mnt], capture_output=True, text=True)
            if r.returncode == 0:
                self.mounted = False
            elif time.monotonic() > end:
                raise RuntimeError(r.stderr)
            else:
                time.sleep(0.1)


def new_boot(dir):
    """A program in front of another that gives it a boot id of its own."""
    file = dir / f"boot-{uuid.uuid4()}"
    file.write_text(str(uuid.uuid4()) + "\n")
    return ["unshare", "-m", "sh", "-c",
            f'mount --bind {file} /proc/sys/kernel/random/boot_id && exec "$0" "$@"']


def one_round(soak, d, disk, base, state, how):
    builds = []
    for _ in range(5):
        state["number"] += 1
        builds.append(Build(soak.rng, state["number"], base, soak.dir))
    r = Running(soak, d, builds, 2)
    if how == "clean":
        time.sleep(1 + soak.rng.random() * 2)
        r.stop_new()
        # The power goes after a clean stop: all of it must be there.
        soak.check("a clean stop", d.stop() == 0)
        cut_at = None
    else:
        time.sleep(SYNCED_AFTER + 2 if how == "settled" else 1.5 + soak.rng.random() * 3)
        cut_at = time.monotonic()
    disk.cut()
    if d.proc:
        d.stop(signal.SIGKILL)
    r.stop()
    for b in r.done:
        if b.kind == "none":
            continue
        bad, b.sums = b.check_result(b.read_result())
        soak.check(f"export of {b.name}", bad is None, bad)
    new = [b for b in r.done if b.sums and
           (cut_at is None or b.finished_at < cut_at - SYNCED_AFTER)]
    state["synced"] = (state["synced"] + new)[-20:]
    state["other"] = [b for b in r.done if b not in new]


def after(soak, d, state):
    for b in soak.rng.sample(state["synced"], min(3, len(state["synced"]))):
        bad, sums = rebuild(d, b)
        if soak.check(f"{b.name} is whole", bad is None, bad):
            soak.check(f"{b.name} is not lost", sums == b.sums, "it was made anew")
    for b in state["other"][:2]:
        bad, sums = rebuild(d, b)
        soak.check(f"{b.name} is whole", bad is None, bad)


def run(soak):
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        soak.skip("all", "needs root and loop devices")
        return
    rounds = ["clean", "at once", "settled", "at once", "clean"]
    if not soak.short:
        rounds = [soak.rng.choice(["clean", "at once", "at once", "settled"]) for _ in range(60)]
    own_mounts()
    base = make_base(soak.dir / "base")
    disk = Disk(soak.dir, 2000)
    dir = disk.mnt / "d"
    dir.mkdir()
    d = Daemon(dir, binary=soak.bin / "buildkitd")
    # Its socket and log are not on that disk.
    d.addr, d.log = f"unix://{soak.dir}/s", soak.dir / "daemon.log"
    d.config = soak.dir / "buildkitd.toml"
    d.config.write_text("")
    state = {"number": 0, "synced": [], "other": []}
    try:
        for i, how in enumerate(rounds):
            d.wrap = new_boot(soak.dir)
            d.start()
            after(soak, d, state)
            one_round(soak, d, disk, base, state, how)
            disk.umount()
            disk.mount()
            bad = storecheck(soak, d.root, wrap=new_boot(soak.dir))
            soak.check(f"round {i} ({how}): store", bad is None, bad)
        d.wrap = new_boot(soak.dir)
        d.start()
        after(soak, d, state)
        d.ctl("prune", "--all")
        soak.check("a clean stop", d.stop() == 0)
        bad = storecheck(soak, d.root, "empty", wrap=new_boot(soak.dir))
        soak.check("nothing is left", bad is None, bad)
    finally:
        if d.proc:
            d.stop(signal.SIGKILL)
        disk.umount()
