#!/usr/bin/env python3
"""Long tests: hours of trouble for the daemon. Usage: tests/soak/run.py [--short] [--seed N]
[--build DIR] [SUITE...]

A suite is a file soak_NAME.py here with a function

    def run(soak): ...

that calls soak.check(name, ok, detail="") for each thing it has tried, or soak.skip(name, why). soak.short is true in `make
check`, where a suite has about a minute; soak.rng is seeded with soak.seed, which is printed: a failure can be tried again with
--seed. soak.dir is an empty directory of the suite's own, removed if all went well. The last line sums up: "N passed, N failed,
N skipped"."""

import argparse
import importlib
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Soak:
    def __init__(self, name, args):
        self.name = name
        self.short = args.short
        self.seed = args.seed
        self.rng = random.Random(f"{args.seed} {name}")
        self.build = args.build
        self.bin = args.build / "bin"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"soak-{name}-"))
        self.passed = self.failed = self.skipped = 0

    def check(self, name, ok, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED {self.name}: {name}: {detail}", flush=True)
        return ok

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {self.name}: {name}: {why}", flush=True)

    def say(self, text):
        print(f"{self.name}: {text}", flush=True)


def main():
    names = sorted(p.stem[5:] for p in HERE.glob("soak_*.py"))
    ap = argparse.ArgumentParser()
    ap.add_argument("--short", action="store_true")
    ap.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    ap.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    ap.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(names))
    args = ap.parse_args()
    args.build = args.build.resolve()
    os.environ["BK_BIN"] = str(args.build / "bin")  # for what is shared with tests/e2e
    sys.path.insert(0, str(HERE))
    unknown = set(args.suites) - set(names)
    if unknown:
        ap.error(f"no such suite: {', '.join(sorted(unknown))}")
    print(f"seed {args.seed}", flush=True)
    passed = failed = skipped = 0
    for name in args.suites or names:
        s = Soak(name, args)
        start = time.monotonic()
        print(f"---- {name}", flush=True)
        try:
            importlib.import_module(f"soak_{name}").run(s)
        except Exception:
            s.check("runs to its end", False, traceback.format_exc())
        if s.failed:
            print(f"see {s.dir}", flush=True)
        else:
            shutil.rmtree(s.dir, ignore_errors=True)
        print(f"{name}: {s.passed} passed, {s.failed} failed, {s.skipped} skipped, "
              f"{time.monotonic() - start:.0f} s", flush=True)
        passed, failed, skipped = passed + s.passed, failed + s.failed, skipped + s.skipped
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return failed != 0 or passed == 0


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    sys.exit(main())
