"""Attack tests: what builds, images and clients that mean harm try. Each test names the advisory
that it stands for. They run with every runtime that the daemon has: runc, and its own."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

E2E = pathlib.Path(__file__).resolve().parent.parent / "e2e"
sys.path.insert(0, str(E2E))
spec = importlib.util.spec_from_file_location("e2e_support", E2E / "conftest.py")
support = importlib.util.module_from_spec(spec)
sys.modules["e2e_support"] = support
spec.loader.exec_module(support)

ctx = support.ctx
daemon_factory = support.daemon_factory
registry_factory = support.registry_factory
registry = support.registry


@pytest.fixture(scope="session")
def has_native(tmp_path_factory):
    """The daemon's own runtime is asked for by name; one without it says that it finds none."""
    tmp_path = tmp_path_factory.mktemp("native")
    try:
        return probe(tmp_path)
    except subprocess.TimeoutExpired:
        return True  # it runs


def probe(tmp_path):
    r = subprocess.run([support.BIN / "buildkitd", "--root", tmp_path / "probe", "--addr",
                        f"unix://{tmp_path}/probe.sock", "--oci-worker-binary=native",
                        "--oci-worker-net=host", "--config", "/dev/null", "--otel-socket-path",
                        tmp_path / "otel", "--containerd-worker=false"], capture_output=True, timeout=3)
    return b"failed to find native binary" not in r.stderr


@pytest.fixture(params=["runc", "native"])
def runtime(request, has_native):
    if request.param == "native" and not has_native:
        pytest.skip("this daemon has no native runtime")
    return request.param


@pytest.fixture
def daemon(daemon_factory, runtime):
    """Nothing may be left of it at the end, whatever was done to it."""
    d = daemon_factory(args=[f"--oci-worker-binary={runtime}"]).start()
    yield d
    if d.proc:
        support.wait_for(lambda: not d.children())
        assert d.inner_mounts() == []
        assert d.stop() == 0, d.log.read_text()[-4000:]
    assert d.mounts() == []


@pytest.fixture
def victim(tmp_path):
    """A directory of the machine that no build has been given."""
    p = tmp_path / "victim"
    p.mkdir()
    (p / "secret").write_text("machine-secret")
    (p / "empty").mkdir()
    (p / "emptyfile").write_text("")
    yield p
    assert sorted(os.listdir(p)) == ["empty", "emptyfile", "secret"]
    assert (p / "secret").read_text() == "machine-secret"
    assert os.listdir(p / "empty") == []
    assert (p / "emptyfile").read_text() == ""
