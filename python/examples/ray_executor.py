"""Ray as an executor, so that lmfs.pack runs on a Ray cluster: lmfs.pack(url, executor=RayExecutor())."""

import concurrent.futures

import ray


class RayExecutor(concurrent.futures.Executor):
    def __init__(self, **options):
        self.options = {"num_cpus": 1, "max_retries": 3, **options}
        self.remotes = {}

    def submit(self, call, /, *args, **options):
        remote = self.remotes.setdefault(call, ray.remote(**self.options)(call))
        return remote.remote(*args, **options).future()

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Ray goes on."""
