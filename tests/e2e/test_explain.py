"""`buildctl explain`: why steps of the last build ran."""

import json

import pytest

from conftest import BIN, Daemon, make_rootfs, peer
import subprocess


@pytest.fixture
def tree(tmp_path):
    ctx = tmp_path / "ctx"
    ctx.mkdir()
    root = make_rootfs(tmp_path / "rootfs")
    subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "--mtime=@0", "-cf",
                    ctx / "base.tar", "."], check=True)
    (ctx / "src" / "deep").mkdir(parents=True)
    for name in ["a", "b", "deep/c"]:
        (ctx / "src" / name).write_text(name)
    (ctx / "Dockerfile").write_text("""\
FROM scratch AS base
ADD base.tar /
ENV PATH=/bin
FROM base
ARG V=1
COPY src /src
RUN echo $V > /v
RUN cat /v > /w
""")
    return ctx


def explain(d, *args):
    r = json.loads(d.ctl("explain", "--format=json", *args).stdout)
    return r, {v["name"].split("] ")[-1]: v["reasons"] for v in r["vertices"]}


def test_new(daemon, tree):
    r = daemon.ctl("explain", check=False)
    assert r.returncode != 0 and b"no build is remembered" in r.stderr
    daemon.build(tree)
    r, why = explain(daemon)
    assert r["ran"] == 4 and r["cached"] == 0
    assert why["RUN echo 1 > /v"] == ["nothing like it was built before, as far as is remembered"]


def test_all_cached(daemon, tree):
    daemon.build(tree)
    daemon.build(tree)
    r, why = explain(daemon)
    assert r["ran"] == 0 and r["cached"] == 4 and not why
    _, why = explain(daemon, "--all")
    assert why["RUN cat /v > /w"] == []


def test_files(daemon, tree):
    daemon.build(tree)
    (tree / "src" / "deep" / "c").write_text("changed")
    (tree / "src" / "a").unlink()
    (tree / "src" / "new").write_text("new")
    daemon.build(tree)
    r, why = explain(daemon)
    assert r["cached"] == 1
    what = " of input \"[internal] load build context\" "
    assert sorted(why["COPY src /src"]) == [
        "file /src/a" + what + "is gone", "file /src/deep/c" + what + "has changed", "file /src/new" + what + "is new"]
    assert why["RUN echo 1 > /v"] == ["input \"[stage-1 1/3] COPY src /src\" ran"]


def test_many_files(daemon, tree):
    """Of more files than are remembered: at least the directory."""
    for i in range(3000):
        p = tree / "src" / f"d{i % 30}"
        p.mkdir(exist_ok=True)
        (p / f"f{i}").write_text("x")
    daemon.build(tree)
    (tree / "src" / "d7" / "f7").write_text("y")
    daemon.build(tree)
    _, why = explain(daemon)
    assert why["COPY src /src"] in (
        [f"file /src/d7/f7 of input \"[internal] load build context\" has changed"],
        [f"something in directory /src/d7 of input \"[internal] load build context\" has changed"])


def test_argument(daemon, tree):
    daemon.build(tree)
    daemon.build(tree, "--opt", "build-arg:V=2")
    r, why = explain(daemon)
    assert why["RUN echo 2 > /v"] == ["environment variable V has changed: \"2\", it was \"1\""]
    assert r["cached"] == 2
    text = (tree / "Dockerfile").read_text().replace("cat /v > /w", "cat /v /v > /w")
    (tree / "Dockerfile").write_text(text)
    daemon.build(tree, "--opt", "build-arg:V=2")
    _, why = explain(daemon)
    assert why == {"RUN cat /v /v > /w": ["argument 2 has changed: \"cat /v /v > /w\", it was \"cat /v > /w\""]}


def test_ref_and_no_cache(daemon, tree):
    daemon.build(tree)
    first, _ = explain(daemon)
    daemon.build(tree, "--no-cache")
    r, why = explain(daemon)
    assert r["ran"] == 4 and set(map(tuple, why.values())) == {("the cache is ignored for this step",)}
    again, _ = explain(daemon, "--ref", first["ref"])
    assert again == first
    r = daemon.ctl("explain", "--ref", "nosuch", check=False)
    assert r.returncode != 0 and b"no build nosuch is remembered" in r.stderr


def test_pruned(daemon, tree):
    daemon.build(tree)
    daemon.ctl("prune", "--all")
    daemon.build(tree)
    _, why = explain(daemon)
    assert why["RUN cat /v > /w"] == ["the key is the same, but its result is gone: it was pruned or evicted"]


def test_failed_and_restart(daemon, tree):
    daemon.build(tree)
    text = (tree / "Dockerfile").read_text() + "RUN false\n"
    (tree / "Dockerfile").write_text(text)
    assert daemon.build(tree, check=False).returncode != 0
    daemon.stop()
    daemon.start()
    r, why = explain(daemon)
    failed = [v for v in r["vertices"] if v["error"]]
    assert [v["name"] for v in failed] == ["[stage-1 4/4] RUN false"]
    assert "did not complete successfully" in failed[0]["error"]


def test_original_daemon(tmp_path):
    """It has no such service, and we say so."""
    dir = tmp_path / "real"
    dir.mkdir()
    d = Daemon(dir, binary=peer("buildkitd")).start()
    try:
        r = d.ctl("explain", check=False)
        assert r.returncode != 0
        assert b"can't do this (it is not buildkit-c, or older)" in r.stderr
    finally:
        d.stop()


def test_memory(daemon, tree):
    daemon.build(tree)
    out = daemon.ctl("debug", "memory").stdout.decode()
    m = {k: int(v) for k, _, v in (line.partition(":") for line in out.splitlines())}
    assert 0 < m["live"] <= m["heap"] and 0 < m["rss"] <= m["peak rss"] and m["vertices"] == 0
