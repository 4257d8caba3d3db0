"""kill -9 of the daemon at random points of random builds. After each: the store is whole, what was finished before is still
there to the byte, and the daemon goes on. At the end nothing is left when all is pruned."""

import signal
import time

from builds import Build, Daemon, Running, make_base, rebuild, storecheck


def check_finished(soak, d, finished, how_many):
    """Some of the builds that were finished before the kill."""
    picks = soak.rng.sample(finished, min(how_many, len(finished)))
    for b in picks:
        bad, sums = rebuild(d, b)
        if not soak.check(f"{b.name} is whole", bad is None, bad):
            continue
        if b.sums is not None:
            soak.check(f"{b.name} is not lost", sums == b.sums, "it was made anew")
        b.sums = sums


def run(soak):
    rounds = 12 if soak.short else 300
    base = make_base(soak.dir / "base")
    dir = soak.dir / "d"
    dir.mkdir()
    d = Daemon(dir, binary=soak.bin / "buildkitd")
    finished, number = [], 0
    for i in range(rounds):
        d.start()
        check_finished(soak, d, finished, 2)
        builds = []
        for _ in range(6):
            number += 1
            builds.append(Build(soak.rng, number, base, soak.dir))
        r = Running(soak, d, builds, soak.rng.choice([1, 2, 2, 3]))
        time.sleep(soak.rng.random() ** 2 * 3)
        pruned = soak.rng.random() < 0.1
        if pruned:
            d.ctl("prune", "--keep-storage", str(soak.rng.choice([1, 5, 20])), check=False)
            finished = []
        d.stop(signal.SIGKILL)
        r.stop()
        for b in r.done:
            if b.kind == "none":
                continue
            bad, b.sums = b.check_result(b.read_result())
            soak.check(f"round {i}: export of {b.name}", bad is None, bad)
        if not pruned:
            finished += r.done
        if i % 3 == 0 or not soak.short:
            bad = storecheck(soak, d.root)
            soak.check(f"round {i}: store", bad is None, bad)
        # Old ones make room for new ones.
        finished = finished[-20:]
    d.start()
    check_finished(soak, d, finished, 5)
    d.ctl("prune", "--all")
    soak.check("a clean stop", d.stop() == 0)
    bad = storecheck(soak, d.root, "empty")
    soak.check("nothing is left", bad is None, bad)
    soak.check("no mount is left", d.mounts() == [], str(d.mounts()))
