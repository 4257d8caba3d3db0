"""Memory of the daemon: back at its baseline after hundreds of different builds, and within bounds (docs/internals/solver.md) while
a step floods its log, a big layer is made and exported, and a definition of very many vertices runs."""

import hashlib
import subprocess
import threading
import time

from builds import BIN, Daemon, make_base

MIB = 1 << 20

# What docs/internals/solver.md promises.
FLOOD_RSS = 48 * MIB
LAYER_RSS = 64 * MIB
VERTEX_HEAP = 12 * 1024
GROWTH = 0.01
# A short run begins before buffers that are kept (LMDB's pages, tables that only grow) have their size.
GROWTH_SHORT = 0.08


def memory(d):
    """As `buildctl debug memory` prints it: name -> number."""
    out = d.ctl("debug", "memory").stdout.decode()
    return {k: int(v) for k, _, v in (line.partition(":") for line in out.splitlines())}


def idle(d):
    """The same once nothing is going on: jobs are forgotten, memory was given back, idle threads have ended."""
    end = time.monotonic() + 60
    last = None
    while True:
        m = memory(d)
        if m["jobs"] == 0 and m["vertices"] == 0 and last and abs(m["live"] - last["live"]) < 4096 \
                and m["threads"] <= last["threads"]:
            return m
        if time.monotonic() > end:
            return m
        last = m
        time.sleep(1)


# ---- the wire form of LLB, as far as it is needed ----

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (1 << 64) - 1)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def mkfile(path, inputs):
    """Op{inputs, file: {actions: [{input: 0 or -1, secondary: -1, output: 0, mkfile: {path, mode, timestamp}}]}}"""
    make = field(1, path) + field(2, 0o644) + field(5, -1)
    action = field(1, 0 if inputs else -1) + field(2, -1) + field(3, 0) + field(5, make)
    return b"".join(field(1, field(1, i)) for i in inputs) + field(4, field(2, action))


def merge(inputs):
    body = b"".join(field(1, field(1, n)) for n in range(len(inputs)))
    return b"".join(field(1, field(1, i)) for i in inputs) + field(6, body)


def digest(op):
    return "sha256:" + hashlib.sha256(op).hexdigest()


def many_vertices(n, salt):
    """n file operations: a hundred at a time stand on each other, and the result is the merge of these rows."""
    ops, tops, below = [], [], None
    for i in range(n):
        op = mkfile(f"/{salt}{i}", [below] if below else [])
        below = digest(op)
        ops.append(op)
        if i % 100 == 99 or i == n - 1:
            tops.append(below)
            below = None
    top = merge(tops) if len(tops) > 1 else None
    if top:
        ops.append(top)
        tops = [digest(top)]
    ops.append(field(1, field(1, tops[0])))
    return b"".join(field(1, op) for op in ops)


class Peak(threading.Thread):
    """The most that memory() has said while it ran."""

    def __init__(self, d, what):
        super().__init__()
        self.d, self.what, self.most, self.ended = d, what, 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            self.most = max(self.most, memory(self.d)[self.what])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def reset_peak(d):
    with open(f"/proc/{d.proc.pid}/clear_refs", "w") as f:
        f.write("5")


def dockerfile(soak, name, base, text):
    dir = soak.dir / name
    dir.mkdir(exist_ok=True)
    if not (dir / "base.tar").exists():
        (dir / "base.tar").hardlink_to(base / "base.tar")
    (dir / "Dockerfile").write_text("FROM scratch\nADD base.tar /\nENV PATH=/bin\n" + text)
    return dir


def different_builds(soak, d, base, count, start):
    for i in range(start, start + count):
        dir = dockerfile(soak, "small", base, f"COPY f /\nRUN echo {soak.seed}-{i} > /g && mkdir /d{i}\n")
        (dir / "f").write_text(f"{soak.seed} {i}\n" * (i % 50))
        d.build(dir)
        if i % 25 == 24:
            # What is in the store is remembered: only without it there is a baseline.
            d.ctl("prune", "--all")
    d.ctl("prune", "--all")


def builds(soak, d, base):
    warm, count = (25, 50) if soak.short else (100, 500)
    different_builds(soak, d, base, warm, 0)
    before = idle(d)
    different_builds(soak, d, base, count, warm)
    after = idle(d)
    soak.say(f"{count} builds: live {before['live']} -> {after['live']}, rss {before['rss']} -> {after['rss']}, "
             f"threads {after['threads']}")
    growth = GROWTH_SHORT if soak.short else GROWTH
    soak.check("live heap", after["live"] <= before["live"] * (1 + growth), f"{before['live']} -> {after['live']}")
    spare = (4 if soak.short else 1) * MIB
    soak.check("rss", after["rss"] <= before["rss"] * 1.1 + spare, f"{before['rss']} -> {after['rss']}")


def flood(soak, d, base):
    mib = 100 if soak.short else 2000
    dir = dockerfile(soak, "flood", base,
                     f"RUN yes {'0123456789abcdef' * 8} | head -c {mib * MIB}; echo {soak.seed}; exit 1\n")
    reset_peak(d)
    start = time.monotonic()
    r = d.build(dir, check=False, timeout=900)
    took = time.monotonic() - start
    peak = memory(d)["peak rss"]
    soak.say(f"{mib} MiB of log: {mib / took:.0f} MiB/s, peak {peak}")
    soak.check("the end of a flood is shown", f"{soak.seed}" in r.stderr.decode()[-300000:], r.stderr.decode()[-500:])
    soak.check("peak of a flood", peak <= FLOOD_RSS, str(peak))


def layer(soak, d, base):
    mib = 300 if soak.short else 5120
    dir = dockerfile(soak, "layer", base, f"RUN head -c {mib * MIB} /dev/urandom > /big\n")
    reset_peak(d)
    d.build(dir, "--output", f"type=oci,dest={soak.dir}/layer.tar,compression=uncompressed", timeout=3600)
    peak = memory(d)["peak rss"]
    size = (soak.dir / "layer.tar").stat().st_size
    (soak.dir / "layer.tar").unlink()
    soak.say(f"layer of {mib} MiB: peak {peak}")
    soak.check("the layer is whole", size > mib * MIB, str(size))
    soak.check("peak of a layer", peak <= LAYER_RSS, str(peak))
    d.ctl("prune", "--all")


def vertices(soak, d):
    n = 3000 if soak.short else 100000
    definition = many_vertices(n, str(soak.seed))
    before = idle(d)
    with Peak(d, "live") as p:
        subprocess.run([BIN / "buildctl", "--addr", d.addr, "build", "--progress=quiet"], input=definition,
                       check=True, timeout=3600)
    a_vertex = (p.most - before["live"]) / n
    soak.say(f"{n} vertices: {a_vertex:.0f} bytes of heap a vertex at most, definition {len(definition)} bytes")
    soak.check("heap of many vertices", a_vertex <= VERTEX_HEAP, f"{a_vertex:.0f} bytes a vertex")
    d.ctl("prune", "--all", timeout=600)
    soak.check("all of them are gone", memory(d)["vertices"] == 0)


def run(soak):
    base = make_base(soak.dir / "base")
    dir = soak.dir / "d"
    dir.mkdir()
    d = Daemon(dir, binary=soak.bin / "buildkitd").start()
    try:
        builds(soak, d, base)
        flood(soak, d, base)
        layer(soak, d, base)
        vertices(soak, d)
    finally:
        code = d.stop()
    soak.check("a clean stop", code == 0, str(code))
