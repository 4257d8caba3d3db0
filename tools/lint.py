#!/usr/bin/env python3
"""Rules of docs/STYLE.md that a program can check: layers of #include lines, names of
functions that are not to be used, lengths of files, and formatting.

Prints each violation; the last line is "N passed, N failed" with one count a rule and file."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SRC = ROOT / "src"

LAYERS = [
    ["base"],
    ["sys", "codec"],
    ["net", "kv"],
    ["proto", "content", "snapshot"],
    ["grpc", "cache", "registry", "exec"],
    ["session", "containerd", "source", "solver", "netproxy"],
    ["op", "exporter", "remotecache", "frontend"],
    ["control"],
    ["daemon", "cli", "progress"],
]
LEVEL = {name: i for i, row in enumerate(LAYERS) for name in row}
# Within a layer only these lean on a neighbour (see docs/ARCHITECTURE.md).
NEIGHBOURS = {("source", "session"), ("containerd", "session"), ("exporter", "op"), ("cli", "progress")}
# Files that are tables may be as long as they need.
MAX_LINES = 1000
WARN_LINES = 700

BANNED = re.compile(
    r"\b(strcpy|strcat|strncpy|strncat|sprintf|vsprintf|gets|strtok|strtok_r|gmtime|localtime|"
    r"ctime|asctime|atoi|atol|atoll|mktemp|tmpnam|tempnam|system|popen|alloca|usleep|"
    r"pthread_cancel|fork|vfork|chdir|setenv|putenv)\s*\("
)
# Where such a call is the point of the file: (file, function) -> why.
ALLOWED = {
    ("src/sys/proc.c", "chdir"): "in the child, between start and exec",
    ("src/exec/native_mounts.c", "chdir"): "a container's first process",
    ("src/exec/native_process.c", "chdir"): "a container's process",
    ("src/exec/reaper.c", "chdir"): "a process of its own, which must keep no directory busy",
    ("src/snapshot/mounts_classic.c", "chdir"): "in a child of its own, for short option strings",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def strip(text):
    """Source without comments and string contents, line numbers kept."""

    def blank(m):
        s = m.group(0)
        return re.sub(r"[^\n]", " ", s) if s[0] == "/" else '""' + "\n" * s.count("\n")

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def check_includes(path, text):
    folder = path.relative_to(SRC).parts[0]
    for n, line in enumerate(text.splitlines(), 1):
        m = INCLUDE.match(line)
        if not m or "/" not in m.group(1):
            continue
        other = m.group(1).split("/")[0]
        if other not in LEVEL:
            yield f"{n}: includes {m.group(1)}, which is in no folder of ours"
        elif other != folder and (folder, other) not in NEIGHBOURS:
            if LEVEL[other] >= LEVEL[folder]:
                yield f"{n}: {folder} (layer {LEVEL[folder]}) includes {m.group(1)} (layer {LEVEL[other]})"


def check_banned(path, text):
    rel = str(path.relative_to(ROOT))
    for n, line in enumerate(strip(text).splitlines(), 1):
        for m in BANNED.finditer(line):
            before = line[: m.start()].rstrip()
            if before.endswith(("->", ".")) or (rel, m.group(1)) in ALLOWED:
                continue
            yield f"{n}: {m.group(1)}() is not to be used"


def check_length(path, text):
    n = text.count("\n")
    if n > MAX_LINES and path.suffix != ".def":
        yield f"{n} lines; at most {MAX_LINES}"


def check_own_header_first(path, text):
    own = path.with_suffix(".h")
    if path.suffix != ".c" or not own.exists():
        return
    for line in text.splitlines():
        m = INCLUDE.match(line)
        if m:
            # Itself or a header of its folder that includes it.
            folder = str(path.parent.relative_to(SRC))
            if str(pathlib.PurePath(m.group(1)).parent) != folder:
                yield f"first include is {m.group(1)}, not of {folder}"
            return


def check_format(files):
    r = subprocess.run(
        ["clang-format", "--dry-run", "-Werror", "--ferror-limit=1", *map(str, files)],
        capture_output=True, text=True, cwd=ROOT)
    bad = {}
    for line in r.stderr.splitlines():
        m = re.match(r"(\S+?):(\d+):\d+: error: .*clang-format", line)
        if m:
            bad.setdefault(m.group(1), m.group(2))
    return bad


def main():
    files = sorted(p for d in ("src", "tests") for p in (ROOT / d).rglob("*.[ch]"))
    failed = passed = 0
    for path in files:
        text = path.read_text()
        rules = [check_length]
        if path.is_relative_to(SRC):
            rules += [check_banned, check_includes, check_own_header_first]
        for rule in rules:
            found = list(rule(path, text))
            for f in found:
                print(f"{path.relative_to(ROOT)}:{f}")
            failed += bool(found)
            passed += not found
        if text.count("\n") > WARN_LINES:
            print(f"note: {path.relative_to(ROOT)} has {text.count(chr(10))} lines")
    for path, line in check_format(files).items():
        print(f"{path}:{line}: not as clang-format writes it")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
