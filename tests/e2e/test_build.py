"""Dockerfiles through stock clients and our own, each kind of output."""

import json
import os
import subprocess
import tarfile

import pytest

from conftest import BIN, peer

DOCKERFILE = """\
FROM scratch AS base
ADD base.tar /
ENV PATH=/bin

FROM base AS build
WORKDIR /src
COPY hello.txt .
RUN cat hello.txt > out.txt && echo more >> out.txt
RUN ["/bin/sh", "-c", "wc -l < out.txt > lines.txt"]

FROM base
WORKDIR /app
COPY --from=build /src/out.txt /src/lines.txt ./
ENV GREETING=hi
LABEL a.b=c
ENTRYPOINT ["/bin/cat", "/app/out.txt"]
"""


@pytest.fixture
def hello(ctx):
    (ctx / "Dockerfile").write_text(DOCKERFILE)
    (ctx / "hello.txt").write_text("hello\n")
    return ctx


def steps(stderr):
    """Vertex number -> (name, how it ended) of a plain log."""
    names, ends = {}, {}
    for line in stderr.decode().splitlines():
        if not line.startswith("#"):
            continue
        num, _, rest = line.partition(" ")
        names.setdefault(num, rest)
        if rest.startswith(("CACHED", "DONE", "ERROR", "CANCELED")):
            ends[num] = rest.split()[0]
    return {n: (names[n], ends.get(n)) for n in names}


def layers(path):
    with tarfile.open(path) as t:
        read = lambda n: json.load(t.extractfile(n))
        m = read("blobs/sha256/" + read("index.json")["manifests"][0]["digest"].split(":")[1])
        cfg = read("blobs/sha256/" + m["config"]["digest"].split(":")[1])
    return m, cfg


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_image_archive(daemon, hello, client, kind, tmp_path):
    out = tmp_path / "out.tar"
    daemon.build(hello, "--output", f"type={kind},name=example.com/hello:1,dest={out}",
                 client=client)
    m, cfg = layers(out)
    assert cfg["config"]["Entrypoint"] == ["/bin/cat", "/app/out.txt"]
    assert "GREETING=hi" in cfg["config"]["Env"]
    assert cfg["config"]["Labels"] == {"a.b": "c"}
    assert len(m["layers"]) == len(cfg["rootfs"]["diff_ids"]) == 3
    with tarfile.open(out) as t:
        assert ("manifest.json" in t.getnames()) == (kind == "docker")


def test_skopeo_reads_it(daemon, hello, tmp_path):
    out = tmp_path / "out.tar"
    daemon.build(hello, "--output", f"type=oci,name=example.com/hello:1,dest={out}")
    r = subprocess.run(["skopeo", "inspect", f"oci-archive:{out}"], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    assert json.loads(r.stdout)["Labels"] == {"a.b": "c"}
    r = subprocess.run(["skopeo", "copy", f"oci-archive:{out}", f"dir:{tmp_path}/copy"],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


def test_local(daemon, hello, client, tmp_path):
    out = tmp_path / "out"
    daemon.build(hello, "--output", f"type=local,dest={out}", client=client)
    assert (out / "app/out.txt").read_text() == "hello\nmore\n"
    assert (out / "app/lines.txt").read_text() == "2\n"
    assert (out / "bin/sh").is_symlink()


def test_tar(daemon, hello, client, tmp_path):
    out = tmp_path / "out.tar"
    daemon.build(hello, "--output", f"type=tar,dest={out}", client=client)
    with tarfile.open(out) as t:
        assert t.extractfile("app/out.txt").read() == b"hello\nmore\n"
        assert t.getmember("bin/sh").issym()


def test_tar_to_stdout(daemon, hello, client):
    r = daemon.build(hello, "--output", "type=tar", client=client)
    assert b"app/out.txt" in r.stdout


@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
def test_compressions(daemon, hello, compression, tmp_path):
    out = tmp_path / "out.tar"
    daemon.build(hello, "--output", f"type=oci,dest={out},compression={compression}")
    m, _ = layers(out)
    suffix = {"gzip": "+gzip", "zstd": "+zstd", "uncompressed": ""}[compression]
    assert {x["mediaType"] for x in m["layers"]} == \
        {"application/vnd.oci.image.layer.v1.tar" + suffix}
    r = subprocess.run(["skopeo", "copy", f"oci-archive:{out}", f"dir:{tmp_path}/copy"],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


def test_second_build_is_cached(daemon, hello, client):
    daemon.build(hello, client=client)
    r = daemon.build(hello, client=client)
    for name, end in steps(r.stderr).values():
        if name.startswith(("[base", "[build", "[stage")):
            assert end == "CACHED", r.stderr.decode()


def test_change_of_context_rebuilds_from_there(daemon, hello, tmp_path):
    daemon.build(hello)
    (hello / "hello.txt").write_text("changed\n")
    out = tmp_path / "out"
    r = daemon.build(hello, "--output", f"type=local,dest={out}")
    assert (out / "app/out.txt").read_text() == "changed\nmore\n"
    ends = {name: end for name, end in steps(r.stderr).values()}
    assert [e for n, e in ends.items() if "ADD base.tar" in n] == ["CACHED"]
    assert [e for n, e in ends.items() if "wc -l" in n] == ["DONE"]


def test_no_cache(daemon, hello, client):
    daemon.build(hello)
    r = daemon.build(hello, "--no-cache", client=client)
    assert [e for n, e in steps(r.stderr).values() if "wc -l" in n] == ["DONE"]


def test_metadata_file(daemon, hello, client, tmp_path):
    md = tmp_path / "md.json"
    daemon.build(hello, "--output", f"type=oci,dest={tmp_path}/o.tar", "--metadata-file", md,
                 client=client)
    data = json.loads(md.read_text())
    assert data["containerimage.digest"].startswith("sha256:")
    assert data["containerimage.descriptor"]["digest"] == data["containerimage.digest"]


def test_secret(daemon, ctx, client, tmp_path):
    (ctx / "Dockerfile").write_text(
        "FROM scratch\nADD base.tar /\nENV PATH=/bin\n"
        "RUN --mount=type=secret,id=x test \"$(cat /run/secrets/x)\" = s3cret\n")
    (tmp_path / "secret").write_text("s3cret")
    daemon.build(ctx, "--secret", f"id=x,src={tmp_path}/secret", client=client)


def test_cache_mount_keeps(daemon, ctx):
    df = "FROM scratch\nADD base.tar /\nENV PATH=/bin\nARG N\n" \
         "RUN --mount=type=cache,target=/c echo $N >> /c/f && cat /c/f > /seen\n"
    (ctx / "Dockerfile").write_text(df)
    daemon.build(ctx, "--opt", "build-arg:N=1")
    daemon.build(ctx, "--opt", "build-arg:N=2", "--output", f"type=local,dest={ctx}/out")
    assert (ctx / "out/seen").read_text() == "1\n2\n"


def test_progress_modes(daemon, hello):
    r = daemon.ctl("build", "--progress=rawjson", "--frontend=dockerfile.v0", "--local",
                   f"context={hello}", "--local", f"dockerfile={hello}")
    events = [json.loads(x) for x in r.stderr.splitlines()]
    assert any(e.get("vertexes") for e in events)
    r = daemon.ctl("build", "--progress=quiet", "--frontend=dockerfile.v0", "--local",
                   f"context={hello}", "--local", f"dockerfile={hello}")
    assert r.stderr == b""


def test_multi_platform_copy_only(daemon, ctx, client, tmp_path):
    (ctx / "Dockerfile").write_text("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /d-$TARGETARCH\n")
    out = tmp_path / "o.tar"
    daemon.build(ctx, "--opt", "platform=linux/amd64,linux/arm64", "--output",
                 f"type=oci,dest={out}", client=client)
    with tarfile.open(out) as t:
        ix = json.load(t.extractfile("index.json"))["manifests"][0]
        assert ix["mediaType"] == "application/vnd.oci.image.index.v1+json"
        ix = json.load(t.extractfile("blobs/sha256/" + ix["digest"].split(":")[1]))
    assert [m["platform"]["architecture"] for m in ix["manifests"]] == ["amd64", "arm64"]


def test_diff_ids_equal_the_originals(daemon, daemon_factory, ctx, tmp_path):
    """The same COPY-only build gives the same layers, byte for byte."""
    real = daemon_factory("real", binary=peer("buildkitd")).start()
    d = ctx / "tree"
    (d / "sub/deep").mkdir(parents=True)
    (d / "file").write_text("x" * 5000)
    (d / "exec").write_text("#!/bin/sh\n")
    (d / "exec").chmod(0o755)
    (d / "sub/link").symlink_to("../file")
    os.link(d / "file", d / "sub/hard")
    (d / ("long" * 30)).write_text("long name")
    (d / "ünï").write_text("name beyond ASCII")
    (d / "empty").write_text("")
    for root, dirs, files in os.walk(ctx):
        for n in dirs + files:
            os.utime(os.path.join(root, n), (1700000000, 1700000000), follow_symlinks=False)
    (ctx / "Dockerfile").write_text(
        "FROM scratch\nCOPY tree /a\nCOPY --chmod=750 tree/exec /b/c/\n"
        "COPY --chown=5:6 tree/file /d\nWORKDIR /w/x\n")
    got = []
    for d in (daemon, real):
        out = tmp_path / f"{len(got)}.tar"
        d.build(ctx, "--output", f"type=oci,dest={out},rewrite-timestamp=true", "--opt",
                "build-arg:SOURCE_DATE_EPOCH=1700000000")
        got.append(layers(out)[1])
    assert got[0]["rootfs"] == got[1]["rootfs"]
    assert got[0]["history"] == got[1]["history"]
    real.stop()
