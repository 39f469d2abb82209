"""Packing on Ray, with the executor of the examples."""

import os
import pathlib
import signal
import sys

import pytest

import lmfs

ray = pytest.importorskip("ray")
HERE = pathlib.Path(__file__).parent
EXAMPLES = str(HERE.parents[1] / "examples")
TOOLS = str(HERE.parents[1] / "tools")
TEXT = b"".join(b"%08d GET /page/%d 200 %d\n" % (n, n // 13, n * 7919 % 1000) for n in range(30_000))
SMALL = {"level": 4, "block_size": 16384, "piece": 65536}


@pytest.fixture(scope="module")
def executor():
    sys.path[:0] = [EXAMPLES, TOOLS]
    import local_ray
    from ray_executor import RayExecutor

    local_ray.start(runtime_env={"env_vars": {"PYTHONPATH": f"{EXAMPLES}:{HERE}"}})
    yield RayExecutor()
    ray.shutdown()
    for folder in (EXAMPLES, TOOLS):
        sys.path.remove(folder)


def test_a_killed_worker_costs_time_only(tmp_path, executor):
    for number in range(3):
        (tmp_path / str(number)).write_bytes(TEXT[number * 1000 :])
    killed = []

    def kill(path, outcome):
        if not killed:
            os.kill(executor.submit(_pid).result(), signal.SIGKILL)
            killed.append(path)

    report = lmfs.pack(str(tmp_path), None, executor, exclusive=True, progress=kill, **SMALL)
    assert killed and report.packed == 3 and not report.errors
    for number in range(3):
        content = TEXT[number * 1000 :]
        assert (tmp_path / str(number)).read_bytes() == lmfs.compress(content, level=4, block_size=16384)


def _pid():
    return os.getpid()
