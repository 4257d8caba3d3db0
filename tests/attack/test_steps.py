"""What a step may do to the machine, to the daemon and to other steps."""

import os
import pathlib
import threading

import pytest

from e2e_support import wait_for
from test_roots import BASE, build, output


def run(daemon, ctx, script, *args, check=False, mounts="", **kw):
    (ctx / "s.sh").write_text(script)
    return build(daemon, ctx, BASE + f"COPY s.sh /s.sh\nRUN {mounts} sh /s.sh\n", "--no-cache", *args,
                 check=check, **kw)


# A hierarchy of its own where there is version 1, else the one.
CGROUP = "d=/sys/fs/cgroup; test -d $d/memory && d=$d/memory; "


# CVE-2022-0492, CVE-2019-5736 and containers' classics: nothing of this may work.
@pytest.mark.parametrize("what", [
    "mount -t tmpfs x /tmp",
    "mount -t proc x /tmp",
    "mount -t cgroup -o rdma x /tmp",  # CVE-2022-0492: a new hierarchy, its release_agent
    "mount -t cgroup2 x /tmp",
    "mount -o remount,rw /sys",
    "mount -o remount,rw /sys/fs/cgroup",
    CGROUP + "mkdir $d/evil",
    CGROUP + "echo 0 > $d/cgroup.procs",
    CGROUP + "echo 1 > $d/notify_on_release",
    "/bin/busybox unshare -m true",   # CVE-2022-0185: rights by a namespace of one's own
    "/bin/busybox unshare -U true",
    "/bin/busybox mknod /d b 8 0 && dd if=/d of=/dev/null count=1",
    "/bin/busybox mknod /d c 1 1 && dd if=/d of=/dev/null count=1",
    "echo b > /proc/sysrq-trigger",
    "echo x > /proc/sys/kernel/core_pattern",
    "dd if=/proc/kcore of=/dev/null bs=1 count=1 && test -s /proc/kcore",
    "/bin/busybox hostname evil",
    "/bin/busybox chroot /proc/1/root sh -c 'test -e /proc/1/exe && test -e /var/lib'",
    "/bin/busybox ip link set lo down",
    "/bin/busybox sysctl -w kernel.panic=1",
    "/bin/busybox date -s 2000-01-01; test $(/bin/busybox date +%Y) -lt 2001",
    "/bin/busybox dmesg",
    "echo > /proc/self/exe",          # CVE-2019-5736: the runtime's own program
])
def test_nothing_of_the_machine(daemon, ctx, what):
    r = run(daemon, ctx, f"if {what}; then echo W''ORKED; fi\n", check=True)
    assert "WORKED" not in output(r)


# CVE-2024-23653 (GHSA-wr6v-9f75-vh2g): rights that the client was not given.
@pytest.mark.parametrize("instruction, wanted", [
    ("--security=insecure", "security.insecure is not allowed"),
    ("--network=host", "network.host is not allowed"),
    ("--device=name=vendor.com/device=x,required", "device \"vendor.com/device=x\" is not registered"),
])
def test_rights_without_entitlement(daemon, ctx, instruction, wanted):
    r = build(daemon, ctx, BASE +
              f"RUN {instruction} true\n")
    assert r.returncode == 1
    assert wanted in output(r)


def test_daemon_refuses_what_it_does_not_give(daemon, ctx):
    r = build(daemon, ctx, BASE, "--allow", "security.insecure")
    assert r.returncode == 1
    assert "granting entitlement security.insecure is not allowed by build daemon configuration" \
        in output(r)


# Steps side by side: one can't see, signal, trace or outlive the other.
def test_steps_do_not_reach_each_other(daemon, ctx):
    (ctx / "secret").write_text("step-secret-4711")
    text = f"""{BASE}
RUN --mount=type=secret,id=s echo I am here; sleep 3; cat /run/secrets/s > /dev/null && touch /survived
FROM scratch AS evil
ADD base.tar /
RUN sleep 1; ps; cat /proc/[0-9]*/environ /proc/[0-9]*/root/run/secrets/s 2>/dev/null; \
ls -l /run/secrets 2>/dev/null; kill -9 -1; true
FROM scratch
COPY --from=0 /survived /survived
COPY --from=evil /tmp /tmp2
"""
    r = build(daemon, ctx, text, "--no-cache", "--secret", f"id=s,src={ctx}/secret", "--output",
              f"type=local,dest={ctx}/out")
    assert "step-secret-4711" not in output(r)
    # The evil step may have killed itself; then the whole build fails, but not by the other's end.
    if r.returncode:
        assert "I am here" in output(r)
        assert "secrets/s" not in output(r).split("ERROR")[-1] or "kill -9" in output(r)


def test_nothing_outlives_a_step(daemon, ctx):
    mark = "1234567"
    r = run(daemon, ctx, f"(/bin/busybox setsid sleep {mark} &) ; (sleep {mark} &) ; true\n", check=True)
    assert r.returncode == 0

    def left():
        found = []
        for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if mark.encode() in p.read_bytes():
                    found.append(p)
            except OSError:
                pass
        return found
    wait_for(lambda: not left())


# Secrets are in memory only: not in the result, not in the state directory, not after the step.
def test_secrets_leave_nothing(daemon, ctx):
    text = "file-secret-0815-" + "x" * 50
    (ctx / "secret").write_text(text)
    r = run(daemon, ctx, "cat /run/secrets/s | wc -c; mount | grep /run/secrets/s\n", "--secret",
            f"id=s,src={ctx}/secret", "--output", f"type=local,dest={ctx}/out", check=True,
            mounts="--mount=type=secret,id=s")
    assert "tmpfs" in output(r)
    assert not (ctx / "out" / "run" / "secrets" / "s").exists()
    for d in (daemon.root, ctx / "out"):
        for p in d.rglob("*"):
            if p.is_file() and not p.is_symlink():
                assert text.encode() not in p.read_bytes(), p


# Names become parts of paths nowhere.
@pytest.mark.parametrize("name", ["../../../../evil", "/evil", "..", ".", "a/../../../b",
                                  "%00", "x" * 5000])
def test_names_are_no_paths(daemon, ctx, victim, name):
    before = sorted(os.listdir(ctx.parent))
    build(daemon, ctx, BASE + f"RUN --mount=type=cache,id={name},target=/c touch /c/evil\n"
          f"RUN --mount=type=secret,id={name},target=/s,required=false true\n")
    assert daemon.ping()
    assert sorted(os.listdir(ctx.parent)) == before
    assert not pathlib.Path("/evil").exists()


# A step that fills memory, disk names or output ends itself, not the daemon.
def test_flood_of_output(daemon, ctx):
    r = run(daemon, ctx, "dd if=/dev/zero bs=1048576 count=64; echo done\n", timeout=110)
    assert daemon.ping()
    assert len(r.stdout + r.stderr) < 32 << 20


def test_deep_and_odd_paths(daemon, ctx):
    r = run(daemon, ctx, "cd /tmp; i=0; while [ $i -lt 300 ]; do i=$((i+1)); mkdir -p ddddddddddddddd; "
            "cd ddddddddddddddd || break; done; touch \"$(printf 'a\\nb')\"; true\n", "--output",
            f"type=tar,dest={ctx}/out.tar", timeout=110)
    assert daemon.ping()
    assert r.returncode in (0, 1)
