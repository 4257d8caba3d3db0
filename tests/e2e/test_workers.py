"""Several workers in one daemon: lists, the selector, trees that go from one to another."""

import pathlib
import shutil
import signal
import subprocess

import pytest

from conftest import wait_for
from llb import Graph

TWO = """\
[worker.oci]
  labels = { "zone" = "a" }
[worker.second]
  type = "oci"
  snapshotter = "native"
  labels = { "zone" = "b" }
"""
A, B = ["labels.zone==a"], ["labels.zone==b"]


@pytest.fixture
def two(daemon_factory):
    d = daemon_factory(config=TWO).start()
    yield d
    if d.proc:
        wait_for(lambda: not d.children())
        assert d.inner_mounts() == []
        assert d.stop() == 0, d.log.read_text()[-4000:]


def solve(d, graph, last, *args, check=True, **kw):
    return d.ctl("build", "--progress=plain", *args, input=graph.definition(last), check=check, **kw)


@pytest.fixture
def rootfs(ctx, tmp_path):
    return tmp_path / "rootfs"


def test_list(two):
    ids = two.ctl("debug", "workers").stdout.decode().splitlines()[1:]
    assert len(ids) == 2
    out = two.ctl("debug", "workers", "-v").stdout.decode()
    assert "runc" not in out and out.count("worker.executor:") == 2
    one = two.ctl("debug", "workers", "--filter", "labels.zone==b").stdout.decode().splitlines()[1:]
    assert one == ids[1:]
    assert two.ctl("debug", "workers", "--filter", "id==nobody").stdout.decode().splitlines()[1:] == []
    label = 'labels."org.mobyproject.buildkit.worker.snapshotter"==native'
    assert two.ctl("debug", "workers", "--filter", label).stdout.decode().splitlines()[1:] == ids[1:]


def test_first_is_default(two, tmp_path):
    g = Graph()
    f = g.mkfile("/f", "x")
    solve(two, g, f, "--output", f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/f").read_text() == "x"
    assert list((two.root / "runc-overlayfs/snapshots").iterdir())
    layers = [p for p in (two.root / "runc-native-second/snapshots").iterdir() if p.name.isdigit()]
    assert layers == []


@pytest.mark.parametrize("last", ["a", "b"])
def test_tree_goes_between_workers(two, rootfs, tmp_path, last):
    """local and a step on a, a step on b, and back again: with what the step before left."""
    g = Graph()
    base = g.copy_all(g.local("root", A), A)
    one = g.run(base, ["sh", "-c", "echo one > /one; ln /one /link; rm /bin/wc"], A)
    two_ = g.run(one, ["sh", "-c", "cat /one > /two; test ! -e /bin/wc; rm /one"], B)
    end = g.run(two_, ["sh", "-c", "cp /two /three; test ! -e /one; cat /link >> /three"],
                A if last == "a" else B)
    dest = tmp_path / "out"
    solve(two, g, end, "--local", f"root={rootfs}", "--output", f"type=local,dest={dest}")
    assert (dest / "three").read_text() == "one\none\n"
    assert not (dest / "one").exists() and not (dest / "bin/wc").exists()
    # Again: all of it is in the cache of one or the other.
    r = solve(two, g, end, "--local", f"root={rootfs}", "--output", f"type=local,dest={dest}2")
    assert r.stderr.decode().count("CACHED") >= 3, r.stderr.decode()


def test_copied_once(two, rootfs, tmp_path):
    """Steps on b that stand on the same tree of a: it has one record on either worker."""
    g = Graph()
    base = g.run(g.copy_all(g.local("root", A), A),
                 ["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=8"], A)
    for i in range(3):
        end = g.run(base, ["sh", "-c", f"echo {i} > /{i}"], B)
        solve(two, g, end, "--local", f"root={rootfs}")
        records = two.ctl("du", "-v").stdout.decode()
        assert records.count("dd if=/dev/zero") == 2, records


def test_merge_of_both(two, rootfs, tmp_path):
    """A merge on b, exported by a."""
    g = Graph()
    base = g.run(g.copy_all(g.local("root", A), A), ["sh", "-c", "echo x > /x"], A)
    ends = [g.run(base, ["sh", "-c", f"echo {i} > /{i}"], B if i % 2 else A) for i in range(4)]
    end = g.merge(ends, B)
    solve(two, g, end, "--local", f"root={rootfs}", "--output", f"type=local,dest={tmp_path}/out")
    for i in range(4):
        assert (tmp_path / f"out/{i}").read_text() == f"{i}\n"


def test_lazy(two, rootfs, tmp_path):
    """What no step on b touches is not copied: only the cache key of its input is needed when the
    step itself is cached."""
    g = Graph()
    base = g.run(g.copy_all(g.local("root", A), A), ["sh", "-c", "echo x > /x"], A)
    end = g.run(base, ["cat", "/x"], B)
    solve(two, g, end, "--local", f"root={rootfs}")
    before = sorted(p.name for p in (two.root / "runc-native-second/content").rglob("*"))
    solve(two, g, end, "--local", f"root={rootfs}")
    assert sorted(p.name for p in (two.root / "runc-native-second/content").rglob("*")) == before


def test_no_match(two, tmp_path):
    g = Graph()
    f = g.mkfile("/f", "x", filters=["labels.zone==nowhere"])
    r = solve(two, g, f, check=False)
    assert r.returncode != 0
    err = r.stderr.decode()
    assert 'no worker matches filter "labels.zone==nowhere"' in err
    assert "zone=a" in err and "zone=b" in err


def test_bad_filter(two):
    g = Graph()
    f = g.mkfile("/f", "x", filters=["labels.zone=="])
    r = solve(two, g, f, check=False)
    assert "filters: parse error" in r.stderr.decode()


def test_failure_on_second(two, rootfs):
    g = Graph()
    end = g.run(g.copy_all(g.local("root", A), A), ["sh", "-c", "echo no >&2; exit 3"], B)
    r = solve(two, g, end, "--local", f"root={rootfs}", check=False)
    assert "exit code: 3" in r.stderr.decode()


def test_oci_export_of_second(two, rootfs, tmp_path):
    g = Graph()
    end = g.run(g.copy_all(g.local("root", B), B), ["sh", "-c", "echo x > /x"], B)
    out = tmp_path / "o.tar"
    solve(two, g, end, "--local", f"root={rootfs}", "--output", f"type=oci,dest={out}")
    names = subprocess.run(["tar", "-tf", out], capture_output=True, text=True).stdout
    assert "index.json" in names


def test_restart_and_prune(two, rootfs, tmp_path):
    g = Graph()
    base = g.run(g.copy_all(g.local("root", A), A), ["sh", "-c", "echo one > /one"], A)
    end = g.run(base, ["sh", "-c", "cat /one > /two"], B)
    solve(two, g, end, "--local", f"root={rootfs}")
    assert two.stop(signal.SIGKILL) is not None
    two.start()
    r = solve(two, g, end, "--local", f"root={rootfs}", "--output", f"type=local,dest={tmp_path}/out")
    assert r.stderr.decode().count("CACHED") >= 2, r.stderr.decode()
    assert (tmp_path / "out/two").read_text() == "one\n"
    two.ctl("prune", "--all")
    assert "ID:" not in two.ctl("du", "-v").stdout.decode()


def without_hybrid_cgroups():
    """crun refuses to run where the unified hierarchy beside version 1 has controllers."""
    unified = pathlib.Path("/sys/fs/cgroup/unified/cgroup.controllers")
    if not unified.exists() or not unified.read_text().strip():
        return []
    return ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified && exec "$@"', "sh"]


@pytest.mark.parametrize("snapshotter", ["native", "overlayfs"])
@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_runtime_and_snapshotter(daemon_factory, ctx, tmp_path, runtime, snapshotter):
    for program in [runtime] + ([snapshotter] if snapshotter.startswith("fuse") else []):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    d = daemon_factory(args=[f"--oci-worker-binary={runtime}",
                             f"--oci-worker-snapshotter={snapshotter}"],
                       wrap=without_hybrid_cgroups() if runtime == "crun" else []).start()
    (ctx / "Dockerfile").write_text(
        "FROM scratch AS b\nADD base.tar /\nRUN echo $(id -u) > /id && rm /bin/wc && chmod 1777 /tmp\n"
        "RUN --mount=type=cache,target=/c echo 1 >> /c/n && cp /c/n /n\nUSER 1000:1000\n"
        "RUN id -u > /tmp/id\nFROM scratch\nCOPY --from=b /id /n /\n"
        "COPY --from=b /tmp/id /uid\n")
    d.build(ctx, "--output", f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/id").read_text() == "0\n"
    assert (tmp_path / "out/uid").read_text() == "1000\n"
    (ctx / "Dockerfile").write_text("FROM scratch\nADD base.tar /\nRUN exit 7\n")
    r = d.build(ctx, check=False)
    assert "exit code: 7" in r.stderr.decode()
    assert d.stop() == 0
