"""The solver against a naive evaluator, at length: thousands of random graphs with duplicates, cancels, evictions and restarts
(tests/unit/solver/test_model.c), under TSan in full."""

import os
import re
import subprocess


def program(soak):
    """Under TSan, in a build of its own; in the short form what is built anyway (`make check` runs it under TSan too)."""
    if soak.short:
        return soak.build / "meson"
    dir = soak.build / "tsan"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if not (dir / "build.ninja").exists():
        subprocess.run(["meson", "setup", dir, "-Db_sanitize=thread", "-Db_lundef=false"], cwd=root, check=True,
                       stdout=subprocess.DEVNULL)
    return dir


def run(soak):
    dir = program(soak)
    target = "tests/unit/solver/test_solver_model"
    subprocess.run(["ninja", "-C", dir, target], check=True, stdout=subprocess.DEVNULL)
    runs, rounds = (2, 40) if soak.short else (20, 60)
    jobs = 0
    for i in range(runs):
        env = dict(os.environ, MODEL_SEED=str(soak.rng.randrange(1 << 32)), MODEL_RESTARTS="8", MODEL_ROUNDS=str(rounds))
        r = subprocess.run([dir / target], env=env, capture_output=True, text=True, timeout=3600)
        ok = soak.check(f"seed {env['MODEL_SEED']}", r.returncode == 0, (r.stdout + r.stderr)[-3000:])
        found = re.search(r"(\d+) jobs", r.stdout + r.stderr)
        jobs += int(found[1]) if ok and found else 0
    soak.say(f"{jobs} builds")
