"""Random graphs of steps, merges and differences, built by us and by the original daemon: the trees must be the same."""

import hashlib
import os
import pathlib
import subprocess
import tarfile

import llbops as llb
from builds import Daemon, make_base, storecheck

PEERS = pathlib.Path(os.environ.get(
    "BK_PEERS", os.path.expanduser("~/.cache/buildkit-c-conformance/peers")))

NAMES = ["a", "b", "c", "d", "d/x", "d/y", "d/e", "d/e/z", "f", "f/g", "f/g/h", "l"]

SCRIPTS = [
    "rm -rf /w/{0} && mkdir -p /w/{0} && echo {n} > /w/{0}/new",
    "mkdir -p /w/f /w/d && rm -rf /w/f && mv /w/d /w/f; true",
    "mkdir -p /w/q && cd /w && touch q/r && rm q/r; chmod 700 q",
    "cd /w && for i in *; do [ -f $i ] && echo {n} >> $i; done; true",
    "cd /w && for i in *; do [ -f $i ] && ln -f $i hard-$i; done; true",
    "cd /w && find . -type f | head -2 | while read f; do rm $f; mkdir $f; echo {n} > $f/in; done",
    "cd /w && find . -mindepth 1 -type d | tail -1 | while read d; do rm -r $d; echo {n} > $d; done",
    "rm -rf /w && mkdir /w && echo {n} > /w/only",
    "cd /w && touch -d @1000000000 * 2>/dev/null; true",
    "cd /w && ln -sf {0} l; mkdir -p m && chmod 2775 m && touch m/k && chmod 4755 m/k",
]


def actions(rng, states):
    def path():
        return "/w/" + rng.choice(NAMES)

    made = []
    for _ in range(rng.randrange(1, 4)):
        kind = rng.randrange(6)
        if kind <= 1:
            made.append(llb.mkfile(f"/w/top{rng.randrange(5)}", str(rng.randrange(9)).encode(),
                                   rng.choice([0o644, 0o600, 0o755])))
        elif kind == 2:
            made.append(llb.mkdir(path() + "dir", rng.choice([0o755, 0o700])))
        elif kind == 3:
            made.append(llb.rm(rng.choice([path(), "/w/top*", "/w/d*", "/w/*"])))
        elif kind == 4 and states:
            made.append(llb.copy(rng.choice(states), rng.choice(["/w", "/w/*", "/"]),
                                 rng.choice(["/w", "/copied/", "/w/d"])))
        else:
            made.append(llb.symlink("top0", f"/w/sym{rng.randrange(3)}"))
    # Each action finds the directory.
    return [llb.mkdir("/w")] + made


def graph(rng, base):
    """A random result, and every state of the way."""
    plain, below = [], {}
    shells = [base]
    for step in range(rng.randrange(6, 16)):
        kind = rng.random()
        if kind < 0.35:
            parent = rng.choice([None, *plain, *plain])
            new = llb.file_op(parent, actions(rng, plain))
        elif kind < 0.6:
            parent = rng.choice(shells)
            script = rng.choice(SCRIPTS).format(rng.choice(NAMES), n=step)
            new = llb.exec_op(parent, ["sh", "-c", f"mkdir -p /w; {script}"])
            shells.append(new)
        elif kind < 0.8 and len(plain) > 1:
            parts = [rng.choice(plain) for _ in range(rng.randrange(2, 5))]
            parent = None
            new = llb.merge(parts)
            if parts[0] in shells:
                shells.append(new)
        elif plain:
            upper = rng.choice(plain)
            lower = below.get(upper) if rng.random() < 0.7 else rng.choice([None, *plain])
            while lower is not None and rng.random() < 0.4 and below.get(lower):
                lower = below[lower]
            if lower is None and upper in (None,):
                continue
            parent = None
            new = llb.diff(lower, upper)
        else:
            continue
        below[new] = parent
        plain.append(new)
    tail = [rng.choice(plain) for _ in range(3)] + plain[-2:]
    return llb.merge(tail)


def tree(path):
    """What the archive holds, less the times."""
    out = {}
    with tarfile.open(path) as t:
        for i in t:
            data = b""
            if i.isreg():
                data = hashlib.sha256(t.extractfile(i).read()).hexdigest()
            name = i.name.removeprefix("./").rstrip("/")
            if i.islnk():
                to = i.linkname.removeprefix("./")
                out[name] = out[to]
                continue
            out[name] = (i.type, oct(i.mode), i.uid, i.gid, i.size, i.linkname, data)
    return out


def build(d, definition, context, result):
    r = d.ctl("build", "--progress=plain", "--local", f"base={context}", "--output",
              f"type=tar,dest={result}", input=definition, check=False)
    return None if r.returncode == 0 else r.stderr.decode()[-1500:]


def run(soak):
    if not (PEERS / "buildkitd").exists():
        soak.skip("all", f"the original daemon is not here ({PEERS})")
        return
    if os.geteuid() != 0:
        soak.skip("all", "needs root")
        return
    context = make_base(soak.dir / "base")
    daemons = []
    for name, bin in (("ours", soak.bin), ("theirs", PEERS)):
        dir = soak.dir / name
        dir.mkdir()
        daemons.append(Daemon(dir, binary=bin / "buildkitd"))
    try:
        for d in daemons:
            d.start()
        base = llb.file_op(None, [llb.copy(llb.local("base"), "/base.tar", "/", unpack=True)])
        for i in range(12 if soak.short else 250):
            definition = llb.marshal(graph(soak.rng, base))
            (soak.dir / "definition").write_bytes(definition)
            results = [soak.dir / f"{i}-{d.dir.name}.tar" for d in daemons]
            errors = [build(d, definition, context, r) for d, r in zip(daemons, results)]
            if errors[0] or errors[1]:
                same = bool(errors[0]) == bool(errors[1])
                detail = str(errors)
            else:
                ours, theirs = (tree(r) for r in results)
                same = ours == theirs
                detail = str({k: (ours.get(k), theirs.get(k)) for k in set(ours) | set(theirs)
                              if ours.get(k) != theirs.get(k)})[:3000]
            if not soak.check(f"graph {i}", same, detail):
                (soak.dir / f"{i}.llb").write_bytes(definition)
            for r in results:
                r.unlink(missing_ok=True)
        soak.check("a clean stop", daemons[0].stop() == 0)
        bad = storecheck(soak, daemons[0].root)
        soak.check("store", bad is None, bad)
    finally:
        for d in daemons:
            if d.proc:
                subprocess.run(["kill", "-9", str(d.proc.pid)])
                d.proc.wait()
