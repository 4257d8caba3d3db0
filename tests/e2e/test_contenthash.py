"""Checksums of files decide what is a cache hit, and caches go from daemon to daemon: the keys of steps that copy from a context must
be those of the original."""

import json
import os
import pathlib
import subprocess
import urllib.request

import pytest

from conftest import peer

DF = """\
FROM scratch AS one
COPY src /all
FROM scratch AS two
COPY src/*.txt src/d /some/
FROM scratch AS three
COPY --exclude=**/*.txt src /without
FROM scratch AS four
COPY src/d/ /d/
COPY src/link /followed
COPY src/dirlink/f /through
FROM scratch
COPY --from=one / /
COPY --from=two / /
COPY --from=three /without /w
COPY --from=four /d/../d /x
"""


def make_tree(dir):
    src = dir / "src"
    (src / "d" / "deep" / "er").mkdir(parents=True)
    (src / "empty").mkdir()
    for name, data in {"a.txt": b"a", "b.txt": b"b" * 100000, "d/f": b"", "d/deep/x.txt": b"x",
                       "d/deep/er/y": b"y", "d.txt": b"d", "d-e": b"dash", "ä\u4e2d.txt": b"u",
                       "name with space": b"s"}.items():
        (src / name).write_bytes(data)
    os.link(src / "a.txt", src / "hard.txt")
    (src / "link").symlink_to("d/deep/x.txt")
    (src / "dirlink").symlink_to("d")
    (src / "dangling").symlink_to("no/such")
    (src / "absolute").symlink_to("/d/f")
    os.mkfifo(src / "pipe")
    (src / "a.txt").chmod(0o4755)
    (src / "d" / "deep").chmod(0o2770)
    (src / "empty").chmod(0o1777)
    (src / "d-e").chmod(0)
    os.setxattr(src / "d.txt", "user.some", b"value")
    os.setxattr(src / "b.txt", "user.z", b"1")
    os.setxattr(src / "b.txt", "user.a", b"2")
    subprocess.run(["setcap", "cap_net_raw+ep", src / "name with space"], check=False)
    for i in range(300):
        (src / "d" / f"many{i}").write_bytes(str(i).encode() * i)


def keys(d, ctx, registry):
    name = f"cache-{d.dir.name}"
    d.build(ctx, "--export-cache", f"type=registry,ref={registry.host}/{name}:x,mode=max")
    base = f"http://{registry.host}/v2/{name}"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}

    def get(path):
        return json.load(urllib.request.urlopen(urllib.request.Request(base + path, headers=accept)))
    config = get("/blobs/" + get("/manifests/x")["config"]["digest"])
    return sorted(r["digest"] for r in config["records"])


@pytest.fixture(params=["fresh", "warm"])
def how(request):
    return request.param


def test_same_keys(daemon_factory, registry, tmp_path, how):
    ctx = tmp_path / "ctx"
    ctx.mkdir()
    make_tree(ctx)
    (ctx / "Dockerfile").write_text(DF)
    theirs = daemon_factory("theirs", binary=peer("buildkitd")).start()
    ours = daemon_factory("ours").start()
    if how == "warm":
        # What was there before: checksums are kept and brought up to date.
        ours.build(ctx)
        moved = pathlib.Path(ctx / "src" / "d" / "deep")
        moved.rename(ctx / "src" / "d" / "moved")
        ours.build(ctx, check=False)
        (ctx / "src" / "d" / "moved").rename(moved)
        (moved / "x.txt").write_bytes(b"y")
        ours.build(ctx)
        (ctx / "src" / "empty" / "now").write_bytes(b"not")
    assert keys(ours, ctx, registry) == keys(theirs, ctx, registry)
