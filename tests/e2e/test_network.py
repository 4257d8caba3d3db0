"""A real build on a real distribution, with packages from the network."""

import shutil
import subprocess

import pytest

MIRROR = "http://deb.debian.org/debian"

DOCKERFILE = """\
FROM scratch AS base
ADD debian.tar /
FROM base AS build
RUN printf 'Acquire::Check-Valid-Until "false";\\nAcquire::Check-Date "false";\\n' \
      > /etc/apt/apt.conf.d/99dates && \
    apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev
COPY hello.c /
RUN gcc -static -O2 -o /hello /hello.c && /hello
FROM scratch
COPY --from=build /hello /hello
ENTRYPOINT ["/hello"]
"""


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    if not shutil.which("debootstrap"):
        pytest.skip("debootstrap is not installed")
    dir = tmp_path_factory.mktemp("debian")
    r = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", dir / "root", MIRROR],
                       capture_output=True, text=True)
    if r.returncode:
        pytest.skip("debootstrap: no Debian mirror to be reached: " + r.stdout[-200:])
    tar = dir / "debian.tar"
    subprocess.run(["tar", "-C", dir / "root", "-cf", tar, "."], check=True)
    return tar


def test_compile_on_debian(daemon, debian, tmp_path):
    ctx = tmp_path / "c"
    ctx.mkdir()
    shutil.copy(debian, ctx / "debian.tar")
    (ctx / "hello.c").write_text(
        '#include <stdio.h>\nint main(void) { puts("compiled in a build"); return 0; }\n')
    (ctx / "Dockerfile").write_text(DOCKERFILE)
    daemon.build(ctx, "--output", f"type=local,dest={tmp_path}/out", timeout=600)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["hello"]
    r = subprocess.run([tmp_path / "out/hello"], capture_output=True, text=True)
    assert r.stdout == "compiled in a build\n"
