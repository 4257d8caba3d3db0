"""Roots that are made to mislead whoever mounts into them."""

import os
import pathlib
import subprocess
import time

import pytest

import images

UP = "../" * 30


def build(daemon, ctx, text, *args, check=False, **kw):
    (ctx / "Dockerfile").write_text(text)
    return daemon.build(ctx, *args, check=check, **kw)


def layer(ctx, name, entries):
    (ctx / name).write_bytes(images.tar_layer(entries))


def output(r):
    return (r.stdout + r.stderr).decode(errors="replace")


BASE = "FROM scratch\nADD base.tar /\n"


# CVE-2019-19921, CVE-2023-27561, CVE-2025-31133: /proc and others as links, so that what the
# runtime mounts and masks lands elsewhere.
@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("how", ["out", "inside"])
def test_system_directories_are_links(daemon, ctx, victim, name, how):
    target = UP + str(victim)[1:] if how == "out" else "/evil"
    layer(ctx, "evil.tar", [(name, "l", target), ("evil", "d", None)])
    r = build(daemon, ctx, BASE + "ADD evil.tar /\nRUN echo x > /proc/sysrq-trigger; "
              "cat /proc/kcore > /dev/null && echo R''EAD; echo x > /sys/kernel/evil && echo W''ROTE\n",
              "--no-cache")
    assert "READ" not in output(r) and "WROTE" not in output(r)


# CVE-2021-30465, CVE-2024-45310: the target of a mount is a link out of the root.
@pytest.mark.parametrize("mount", ["type=cache", "type=tmpfs", "type=bind,from=src,rw"])
def test_mount_targets_are_links(daemon, ctx, victim, mount):
    layer(ctx, "evil.tar", [("t", "l", UP + str(victim)[1:])])
    r = build(daemon, ctx, "FROM scratch AS src\nCOPY Dockerfile /d\n" + BASE +
              f"ADD evil.tar /\nRUN --mount={mount},target=/t/deep echo x > /t/deep/evil; "
              "cat /t/secret\n")
    assert "machine-secret" not in output(r)


# CVE-2024-21626 ("leaky vessels"): the working directory by way of a descriptor that the
# runtime left open.
def test_workdir_by_leaked_descriptor(daemon, ctx, victim):
    up = UP + str(victim)[1:] + "/secret"
    for n in range(3, 13):
        r = build(daemon, ctx, BASE + f"WORKDIR /proc/self/fd/{n}\nRUN cat {up}\n", "--no-cache")
        assert "machine-secret" not in output(r)


# The same by a running step: what it has open is its own.
def test_step_has_no_descriptors_of_ours(daemon, ctx):
    r = build(daemon, ctx, BASE + "RUN for f in /proc/self/fd/*; do ls -l $f; done; true\n",
              check=True)
    links = [x for x in output(r).splitlines() if " -> " in x]
    assert links and all("pipe:" in x or "/dev/null" in x or "/proc/" in x for x in links), links


# CVE-2024-23651 (GHSA-m3r6-h7wv-7xxv): part of a cache directory is swapped for a link while, or
# before, it is mounted.
def test_cache_mount_part_is_a_link(daemon, ctx, victim):
    build(daemon, ctx, BASE + f"RUN --mount=type=cache,id=c,target=/c rm -rf /c/part; "
          f"ln -s {UP}{str(victim)[1:]} /c/part\n", check=True)
    r = build(daemon, ctx, BASE + "RUN --mount=type=cache,id=c,source=part,target=/p "
              "ls /p; cat /p/secret; echo x > /p/evil\n")
    assert "machine-secret" not in output(r)


def test_cache_mount_part_is_swapped_under_it(daemon, ctx, victim):
    text = BASE + f"""
RUN --mount=type=cache,id=r,target=/c mkdir -p /c/part
FROM scratch AS swap
ADD base.tar /
RUN --mount=type=cache,id=r,target=/c i=0; while [ $i -lt 300 ]; do i=$((i+1)); \
mv /c/part /c/old; ln -s {UP}{str(victim)[1:]} /c/part; rm /c/part; mv /c/old /c/part; done
FROM scratch AS use
ADD base.tar /
"""
    for i in range(8):
        text += f"RUN --mount=type=cache,id=r,source=part,target=/p ls /p; cat /p/secret; echo {i}\n"
    text += "FROM scratch\nCOPY --from=swap /tmp /a\nCOPY --from=use /tmp /b\n"
    assert "machine-secret" not in output(build(daemon, ctx, text, "--no-cache"))


# CVE-2024-23652 (GHSA-4v98-7qmw-rqr8): places made for mounts are removed after the step, through
# a link that the step has put there.
@pytest.mark.parametrize("name", ["empty", "emptyfile"])
def test_removal_of_mount_points_through_links(daemon, ctx, victim, name):
    r = build(daemon, ctx, BASE + f"RUN --mount=type=tmpfs,target=/a/b/{name} "
              f"mv /a /old; ln -s {UP}{str(victim)[1:]} /a; mkdir -p /old2; true\n"
              f"RUN --mount=type=tmpfs,target=/x/{name} "
              f"mkdir -p /y/{name} && rm -rf /x; ln -s /y /x; true\n"
              "RUN ls /y\n", "--output", f"type=local,dest={ctx}/out")
    assert "machine-secret" not in output(r)


def test_no_trace_of_mount_points(daemon, ctx):
    """A root with a single program, read-only: what the runtime needs is made and taken away."""
    build(daemon, ctx, BASE + "FROM scratch\nCOPY --from=0 /bin/busybox /busybox\n"
          "RUN --mount=type=tmpfs,target=/m/n --mount=type=cache,target=/c "
          "[\"/busybox\", \"touch\", \"/m/n/f\", \"/c/f\"]\n",
          "--output", f"type=local,dest={ctx}/out", check=True)
    left = sorted(str(p.relative_to(ctx / "out")) for p in (ctx / "out").rglob("*"))
    # Those three stay, as with every builder: layers have always had them.
    assert left == ["busybox", "dev", "proc", "sys"]


# GHSA-45x7-px36-x8w8 and the like: files that the daemon itself reads in a root.
@pytest.mark.parametrize("kind", ["huge", "fifo", "zero", "directory", "loop", "host"])
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_hostile_user_files(daemon, ctx, name, kind):
    make = {
        "huge": f"mkdir -p /etc; dd if=/dev/zero of=/etc/{name} bs=1048576 count=11",
        "fifo": f"mkdir -p /etc; /bin/busybox mkfifo /etc/{name}",
        "zero": f"mkdir -p /etc; /bin/busybox mknod /etc/{name} c 1 5",
        "directory": f"mkdir -p /etc/{name}",
        "loop": f"mkdir -p /etc; ln -s {name} /etc/{name}",
        "host": f"mkdir -p /etc; ln -s {UP}etc/{name} /etc/{name}",
    }[kind]
    start = time.monotonic()
    r = build(daemon, ctx, BASE + f"RUN {make}\nUSER daemon:daemon\nRUN id -u\n", timeout=60)
    assert r.returncode == 1
    assert time.monotonic() - start < 50
    assert daemon.fds() < 200


# CVE-2024-40635: an id that is too large must not become root's.
@pytest.mark.parametrize("user", ["4294967296", "2147483648", "4294967296:1", "1:4294967296",
                                  "-1", "0x0"])
def test_user_ids_do_not_wrap(daemon, ctx, user):
    r = build(daemon, ctx, BASE + f"USER {user}\nRUN echo \"uid=$(/bin/busybox id -u)=\"\n")
    assert "uid=0=" not in output(r)


# The trust bundle that a proxied step gets is one of the root's files: CVE-2024-23652 again.
def test_leaving_a_root_by_source_paths(daemon, ctx, victim):
    r = build(daemon, ctx, "FROM scratch AS src\nCOPY Dockerfile /d\n" + BASE +
              f"RUN --mount=type=bind,from=src,source={UP}{str(victim)[1:]},target=/m "
              "cat /m/secret\n")
    assert "machine-secret" not in output(r)
