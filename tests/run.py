#!/usr/bin/env python3
"""All tests: lint, unit tests (plain, under ASan+UBSan and TSan), fuzz corpora, end-to-end
tests with real clients, BuildKit's own tests. Usage: tests/run.py BUILD_DIR [SUITE...]

Each suite runs by itself and gives three counts; the last line sums them up:
"N passed, N failed, N skipped". A reason is printed for whatever is skipped."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Counts:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped


# All of it ends within the hour, whatever hangs: then what is left counts as failed.
DEADLINE = time.monotonic() + 55 * 60


def run(cmd, **kw):
    """As subprocess.run, but ended with all it started when the time is up."""
    print("+", " ".join(map(str, cmd)), flush=True)
    if kw.pop("capture_output", False):
        kw["stdout"] = kw["stderr"] = subprocess.PIPE
    with subprocess.Popen(list(map(str, cmd)), cwd=ROOT, start_new_session=True, **kw) as p:
        try:
            out, err = p.communicate(timeout=max(1, DEADLINE - time.monotonic()))
        except BaseException as e:
            os.killpg(p.pid, signal.SIGKILL)
            if not isinstance(e, subprocess.TimeoutExpired):
                raise
            print("time is up:", *cmd, flush=True)
            out, err = p.communicate()
    return subprocess.CompletedProcess(cmd, p.returncode, out, err)


def parse_counts(text):
    found = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", text, re.M)
    if not found:
        return None
    p, f, s = found[-1]
    return Counts(int(p), int(f), int(s or 0))


def suite_lint(build):
    r = run(["tools/lint.py"], capture_output=True, text=True)
    print(r.stdout, r.stderr)
    return parse_counts(r.stdout) or Counts(failed=1)


def meson_tests(dir, setup, suites=()):
    """Counts by test case: cmocka prints one line each."""
    if not (dir / "build.ninja").exists():
        if run(["meson", "setup", dir, *setup], stdout=subprocess.DEVNULL).returncode:
            return Counts(failed=1)
    if run(["ninja", "-C", dir], stdout=subprocess.PIPE).returncode:
        # Again, for the messages.
        run(["ninja", "-C", dir])
        return Counts(failed=1)
    cmd = ["meson", "test", "-C", dir, "--no-rebuild", "--print-errorlogs", "--num-processes", "2"]
    r = run(cmd + list(suites))
    log = dir / "meson-logs" / "testlog.json"
    c = Counts()
    for line in log.read_text().splitlines():
        t = json.loads(line)
        out = t.get("stdout", "") + t.get("stderr", "")
        ok = len(re.findall(r"^\[\s+OK \]", out, re.M))
        bad = len(set(re.findall(r"^\[\s+FAILED\s+\] (\S+)", out, re.M)))
        skipped = len(set(re.findall(r"^\[\s+SKIPPED\s+\] (\S+)", out, re.M)))
        if t["result"] == "SKIP" and not ok + bad + skipped:
            skipped = 1
        if t["result"] not in ("OK", "SKIP", "EXPECTEDFAIL") and not bad:
            bad = 1
        if t["result"] == "OK" and not ok + skipped:
            ok = 1
        c.passed += ok
        c.failed += bad
        c.skipped += skipped
    if r.returncode and not c.failed:
        c.failed = 1
    return c


def suite_unit(build):
    return meson_tests(build / "meson", [])


def suite_asan(build):
    return meson_tests(build / "asan", ["-Db_sanitize=address,undefined", "-Db_lundef=false"])


def suite_tsan(build):
    return meson_tests(build / "tsan", ["-Db_sanitize=thread", "-Db_lundef=false"])


def suite_e2e(build):
    return pytest_suite(build, "tests/e2e")


def suite_attack(build):
    return pytest_suite(build, "tests/attack")


def pytest_suite(build, folder):
    env = dict(os.environ, BK_BIN=str((build / "bin").resolve()))
    r = run([sys.executable if has_pytest() else "python3", "-m", "pytest", "-q", "-rs",
             folder], env=env, capture_output=True, text=True)
    print(r.stdout[-20000:], r.stderr[-2000:])
    c = Counts()
    tail = r.stdout.strip().splitlines()[-1] if r.stdout.strip() else ""
    for n, word in re.findall(r"(\d+) (passed|failed|skipped|error|errors)", tail):
        if word == "passed":
            c.passed += int(n)
        elif word == "skipped":
            c.skipped += int(n)
        else:
            c.failed += int(n)
    if r.returncode and not c.failed:
        c.failed = 1
    return c


def has_pytest():
    r = subprocess.run([sys.executable, "-c", "import pytest"], capture_output=True)
    return r.returncode == 0


def conformance_kit():
    for p in (os.environ.get("BK_CONFORMANCE_KIT"), ROOT.parent / "shared" / "conformance"):
        if p and (pathlib.Path(p) / "run.sh").exists():
            return pathlib.Path(p)
    return None


def suite_soak(build):
    """The long tests in their short form; `make soak` runs them in full."""
    r = run(["tests/soak/run.py", "--short", "--build", build], capture_output=True, text=True)
    print(r.stdout[-20000:], r.stderr[-2000:])
    return parse_counts(r.stdout) or Counts(failed=1)


# Lists of other workers than the default, by file name, with what the kit wants to be told.
WORKER_LISTS = {
    "rootless.list": {"BK_WORKER": "oci-rootless", "BK_ROOTLESS": "1"},
    "containerd.list": {"BK_WORKER": "containerd"},
}


def read_list(path):
    if not path.exists():
        return []
    return [x for x in path.read_text().splitlines() if x and x[0] != "#"]


def run_list(build, label, names, extra):
    """The tests of lists: those that have passed once must go on passing."""
    kit = conformance_kit()
    why = None
    if not kit:
        why = "the conformance kit is not here (BK_CONFORMANCE_KIT)"
    elif not shutil.which("go"):
        why = "no Go toolchain"
    if why or not names:
        print(f"{label}: {len(names)} tests skipped: {why}")
        return Counts(skipped=len(names))
    if run([kit / "setup.sh"]).returncode:
        return Counts(failed=len(names))
    env = {**os.environ, "BK_BIN": str((build / "bin").resolve()), **extra}
    file = build / f"{label}.list"
    file.write_text("\n".join(names) + "\n")
    r = run([kit / "run.sh", "--list", file.resolve()], env=env, capture_output=True, text=True)
    print(r.stdout[-8000:], r.stderr[-4000:])
    return parse_counts(r.stdout) or Counts(failed=len(names))


def suite_conformance(build):
    names = {}
    for f in sorted((ROOT / "tests" / "conformance").glob("*.list")):
        if f.name not in WORKER_LISTS:
            names.update(dict.fromkeys(read_list(f)))
    return run_list(build, "conformance", list(names), {})


def native_bin(build):
    """A folder of programs whose daemon runs steps by itself."""
    dir = build / "native-bin"
    dir.mkdir(exist_ok=True)
    daemon = dir / "buildkitd"
    daemon.write_text(f"#!/bin/sh\nexec '{(build / 'bin').resolve()}/buildkitd' \"$@\" "
                      "--oci-worker-binary=native\n")
    daemon.chmod(0o755)
    shutil.copy(build / "bin" / "buildctl", dir / "buildctl")
    return str(dir.resolve())


def suite_workers(build):
    """Other workers, and the native runner."""
    total = Counts()
    lists = ROOT / "tests" / "conformance"
    jobs = [(name.removesuffix(".list"), read_list(lists / name), extra)
            for name, extra in WORKER_LISTS.items()]
    jobs.append(("native", read_list(lists / "skeleton.list"), {"BK_BIN": native_bin(build)}))
    for label, names, extra in jobs:
        if not names:
            continue
        c = run_list(build, label, names, extra)
        total.passed += c.passed
        total.failed += c.failed
        total.skipped += c.skipped
    return total


SUITES = {
    "lint": suite_lint,
    "unit": suite_unit,
    "asan": suite_asan,
    "tsan": suite_tsan,
    "e2e": suite_e2e,
    "attack": suite_attack,
    "soak": suite_soak,
    "conformance": suite_conformance,
    "workers": suite_workers,
}


def main():
    build = (ROOT / (sys.argv[1] if len(sys.argv) > 1 else "build")).resolve()
    total = Counts()
    rows = []
    for name in sys.argv[2:] or SUITES:
        start = time.monotonic()
        print(f"\n==== {name}", flush=True)
        try:
            c = SUITES[name](build)
        except Exception:  # A suite that can't even count has failed; the others go on.
            traceback.print_exc()
            c = Counts(failed=1)
        rows.append((name, c, time.monotonic() - start))
        total.passed += c.passed
        total.failed += c.failed
        total.skipped += c.skipped
    print()
    for name, c, t in rows:
        print(f"{name:12} {c.passed:6} passed {c.failed:4} failed {c.skipped:4} skipped {t:7.1f} s")
    line = f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped"
    print(line, flush=True)
    # For .ci/run, which has it as its last line whatever make has to say.
    (build / "check-summary").write_text(line + "\n")
    return total.failed != 0 or total.passed == 0


if __name__ == "__main__":
    sys.exit(main())
