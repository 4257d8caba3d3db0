"""Errors are clear, in the words of the original, and the daemon goes on."""

import subprocess

import pytest

BUSY = "FROM scratch\nADD base.tar /\nENV PATH=/bin\n"

CASES = [
    ("", "the Dockerfile cannot be empty"),
    ("# only a comment\n", "file with no instructions"),
    ("COPY a b\n", "no build stage in current context"),
    ("FROM scratch\nBOGUS x\n", "unknown instruction: BOGUS"),
    ("FROM scratch\nCOPY\n", "COPY requires at least two arguments"),
    ("FROM scratch\nCOPY --nope=1 a b\n", "unknown flag: --nope"),
    ("FROM scratch\nCOPY missing /x\n", "\"/missing\": not found"),
    ("FROM scratch\nRUN --mount=type=what true\n", 'unsupported mount type "what"'),
    ("FROM a AS b\nFROM scratch\nCOPY --from=nope f /f\n", None),
    ("FROM scratch\nENV A=${x\n", "unsupported modifier"),
    ("FROM scratch\nRUN <<EOF\ntrue\n", "unterminated heredoc"),
    (BUSY + "RUN exit 3\n", 'process "/bin/sh -c exit 3" did not complete successfully: exit code: 3'),
    (BUSY + "RUN [\"/nope\"]\n", None),
    (BUSY + "USER nobody-here\nRUN true\n", None),
]


@pytest.mark.parametrize("text,want", CASES)
def test_dockerfile(daemon, ctx, client, text, want):
    (ctx / "Dockerfile").write_text(text)
    r = daemon.build(ctx, check=False, client=client, timeout=60)
    assert r.returncode == 1
    assert not want or want in r.stderr.decode()
    # Still there for others.
    (ctx / "Dockerfile").write_text("FROM scratch\nCOPY base.tar /\n")
    daemon.build(ctx)


def test_unknown_exporter(daemon, ctx):
    (ctx / "Dockerfile").write_text("FROM scratch\n")
    r = daemon.build(ctx, "--output", "type=nope", check=False)
    assert 'exporter "nope" could not be found' in r.stderr.decode()


def test_unknown_frontend(daemon, ctx):
    r = daemon.ctl("build", "--frontend=nope", check=False)
    assert "frontend nope not found" in r.stderr.decode()


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x00", b"\x0a\x02\x0a\x00"])
def test_llb(daemon, data):
    r = daemon.ctl("build", check=False, input=data)
    assert r.returncode == 1
    daemon.ctl("du")


def test_entitlement(daemon, ctx):
    (ctx / "Dockerfile").write_text(BUSY + "RUN --network=host true\n")
    r = daemon.build(ctx, check=False)
    assert "network.host is not allowed" in r.stderr.decode()
    r = daemon.build(ctx, "--allow=network.host", check=False)
    assert "granting entitlement network.host is not allowed by build daemon configuration" in \
        r.stderr.decode()
