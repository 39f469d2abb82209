"""How packing grows with workers: 20 MB of log lines by one worker and by two, on Dask or Ray.

usage: python scale.py dask|ray [MEGABYTES] [LEVEL] [TURNS]

Both are run by turns. Where other work runs, wall time says little. Then CPU time counts: that of the busiest worker,
and that of all of them in equal shares, which is what they would have if each had a core of its own. The bytes are
compared with those that this process makes."""

import os
import pathlib
import sys
import tempfile
import time
from concurrent.futures import Executor, Future

import lmfs

KIND = sys.argv[1] if len(sys.argv) > 1 else "dask"
SIZE = int(sys.argv[2]) if len(sys.argv) > 2 else 20
LEVEL = int(sys.argv[3]) if len(sys.argv) > 3 else 4
TURNS = int(sys.argv[4]) if len(sys.argv) > 4 else 3
LINES = (b"%010d GET /pages/%d/index.html 200 %d\n" % (n, n // 13, n * 7919 % 100_000) for n in range(1 << 40))


def timed(call, *args):
    """The result of a call, the process that did it, and its CPU time."""
    begun = time.process_time()
    result = call(*args)
    return result, os.getpid(), time.process_time() - begun


class Timed(Executor):
    """An executor that adds up what each worker does."""

    def __init__(self, inner):
        self.inner, self.seconds = inner, {}

    def submit(self, call, *args):
        outer = Future()

        def done(future):
            try:
                result, worker, seconds = future.result()
                self.seconds[worker] = self.seconds.get(worker, 0) + seconds
                outer.set_result(result)
            except BaseException as error:
                outer.set_exception(error)

        self.inner.submit(timed, call, *args).add_done_callback(done)
        return outer

    def shutdown(self, wait=True, *, cancel_futures=False):
        """The inner one goes on."""


def executors():
    """One worker's, two workers', and how they are ended."""
    if KIND == "dask":
        from distributed import Client

        options = {"threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
        clients = [Client(n_workers=number, **options) for number in (1, 2)]
        return [client.get_executor() for client in clients], lambda: [client.close() for client in clients]
    import local_ray
    import ray

    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))
    from ray_executor import RayExecutor

    local_ray.start()
    return [RayExecutor(num_cpus=2), RayExecutor(num_cpus=1)], ray.shutdown


def main():
    content = bytearray()
    while len(content) < SIZE * 1_000_000:
        content += next(LINES)
    expected = lmfs.compress(bytes(content), level=LEVEL, block_size=1 << 16)
    made, end = executors()
    found = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "lines")
        for turn in range(TURNS + 1):
            for number, inner in zip((1, 2), made):
                if not turn:
                    # Starts workers and loads models.
                    path.write_bytes(content[:200_000])
                    lmfs.pack(str(path), None, inner, level=LEVEL, piece=1 << 16, exclusive=True)
                    continue
                path.write_bytes(content)
                executor = Timed(inner)
                begun, cpu = time.perf_counter(), time.process_time()
                report = lmfs.pack(str(path), None, executor, level=LEVEL, piece=1 << 20, tasks=8, exclusive=True)
                wall, caller = time.perf_counter() - begun, time.process_time() - cpu
                assert report.packed == 1 and path.read_bytes() == expected, report
                spent = executor.seconds.values()
                found[number].append((max(spent), sum(spent) / number, wall, caller))
    for number, runs in found.items():
        busiest, share, wall, caller = (min(column) for column in zip(*runs))
        workers = f"busiest {busiest:.2f} s CPU, equal shares {share:.2f} s CPU, wall {wall:.2f} s"
        print(f"{KIND}, workers: {number}, {workers}, the caller {caller:.2f} s CPU")
    ratios = [min(one) / min(two) for one, two in zip(zip(*found[1]), zip(*found[2]))]
    print("speed of two: {:.2f} by the busiest, {:.2f} by equal shares, {:.2f} by wall time".format(*ratios))
    end()


if __name__ == "__main__":
    main()
