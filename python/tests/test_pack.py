"""Packing over executors: workers that are killed, late or do something twice cost time only."""

import hashlib
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import fsspec
import pytest

import lmfs
from lmfs import _bucket, _pack, _work

TEXT = b"".join(b"%08d GET /page/%d 200 %d\n" % (n, n // 13, n * 7919 % 1000) for n in range(30_000))
#: Small enough that there are many pieces.
SMALL = {"level": 4, "block_size": 16384, "piece": 65536}


@pytest.fixture
def folder(tmp_path):
    """Plain files, containers, and what is not worth it."""
    fs = fsspec.filesystem("lmfs", target_protocol="file")
    (tmp_path / "in").mkdir()
    (tmp_path / "plain").write_bytes(TEXT[:400_000])
    (tmp_path / "in" / "short").write_bytes(TEXT[500_000:540_000])
    fs.pipe_file(str(tmp_path / "in" / "container"), TEXT[100_000:330_000])
    (tmp_path / "noise").write_bytes(random.Random(1).randbytes(50_000))
    (tmp_path / "empty").touch()
    os.chmod(tmp_path / "plain", 0o640)
    return tmp_path


def contents(folder):
    fs = fsspec.filesystem("lmfs", target_protocol="file")
    return {path: fs.cat_file(path) for path in sorted(fs.find(str(folder)))}


def stored(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def packed_here(tmp_path, folder):
    """The same folder, packed by threads of this process."""
    import shutil

    other = tmp_path.parent / (tmp_path.name + "-here")
    shutil.copytree(folder, other)
    lmfs.pack(str(other), exclusive=True, **SMALL)
    return stored(other)


def test_files_are_packed_once_and_keep_their_content(folder):
    before, told = contents(folder), {}
    report = lmfs.pack(str(folder), exclusive=True, progress=told.__setitem__, **SMALL)
    assert contents(folder) == before
    assert (report.objects, report.packed, report.already, report.kept) == (5, 3, 1, 1), report
    assert report.after < report.before / 4 and not report.errors
    assert told[str(folder / "noise")] == "kept" and told[str(folder / "empty")] == "already"
    assert (folder / "plain").stat().st_mode & 0o777 == 0o640
    assert not [path for path in folder.rglob(".lmfs-*")]
    # As everything else compresses it.
    assert (folder / "plain").read_bytes() == lmfs.compress(before[str(folder / "plain")], level=4, block_size=16384)
    again = lmfs.pack(str(folder), exclusive=True, **SMALL)
    assert (again.packed, again.already, again.kept) == (0, 4, 1)


def test_links_and_what_is_gone_are_left_out(folder, monkeypatch):
    (folder / "link").symlink_to(folder / "plain")
    version = _bucket.Files.version

    def gone(self, info):
        if info["name"].endswith("container"):
            raise FileNotFoundError(info["name"])
        return version(self, info)

    monkeypatch.setattr(_bucket.Files, "version", gone)
    report = lmfs.pack(str(folder), exclusive=True, **SMALL)
    assert (report.objects, report.packed) == (4, 2) and not report.errors
    assert (folder / "link").is_symlink()


def test_a_store_that_was_pushed_is_left_out(tmp_path):
    """Regression: packing made containers of HEAD and of the pieces of a store, which nobody could read any more."""
    names = ("HEAD", "config.toml.00000001-0-0", "segments/00000001.seg.00000001-0-1", "note")
    for store, head in (("store", b"lmfs-head 1 00000000\n"), ("repository", b"ref: refs/heads/main\n")):
        for name in names:
            path = tmp_path / store / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((head if name == "HEAD" else b"") + TEXT[:50_000])
    before, told = stored(tmp_path), {}
    lmfs.pack(str(tmp_path), exclusive=True, progress=told.__setitem__, **SMALL)
    after = stored(tmp_path)
    assert {name for name in before if before[name] == after[name]} == {f"store/{name}" for name in names[:3]}
    assert len(told) == 5


def test_the_language_model(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(TEXT[:6000])
    report = lmfs.pack(str(path), level=5, block_size=4096, exclusive=True)
    assert report.packed == 1 and lmfs.open(path).read() == TEXT[:6000]
    assert lmfs.pack(str(path), level=5, block_size=4096, exclusive=True).already == 1


def test_nothing_is_written_in_a_dry_run(folder):
    before = stored(folder)
    report = lmfs.pack(str(folder), exclusive=True, dry_run=True, **SMALL)
    assert report.packed == 4 and report.before == report.after
    assert report.objects == 5 and not report.errors, report
    assert stored(folder) == before


def test_containers_only(folder):
    before = stored(folder)
    report = lmfs.pack(str(folder), exclusive=True, containers_only=True, **SMALL)
    assert (report.packed, report.kept) == (1, 3)
    assert [path for path, data in stored(folder).items() if data != before[path]] == ["in/container"]


def test_processes_make_the_same_bytes(tmp_path, folder):
    here = packed_here(tmp_path, folder)
    with ProcessPoolExecutor(2) as executor:
        report = lmfs.pack(fsspec.filesystem("file"), [str(folder)], executor, exclusive=True, **SMALL)
    assert report.packed == 3 and stored(folder) == here


def _kill_once(flag):
    """Kills this process if nobody did before."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class Killing(ProcessPoolExecutor):
    """Processes of which the first dies when it has work."""

    def __init__(self, flag):
        super().__init__(2)
        self.submit(_kill_once, flag)


def test_a_killed_process_costs_time_only(tmp_path, folder):
    here, flag = packed_here(tmp_path, folder), str(tmp_path.parent / (tmp_path.name + "-flag"))
    report = lmfs.pack(str(folder), None, lambda: Killing(flag), exclusive=True, **SMALL)
    assert os.path.exists(flag)
    assert report.packed == 3 and not report.errors and stored(folder) == here
    # One that breaks and cannot be made anew says so, and nothing is half done.
    (folder / "plain").write_bytes(TEXT[:400_000])
    os.unlink(flag)
    with pytest.raises(Exception, match="executor broke"):
        lmfs.pack(str(folder), None, Killing(flag), exclusive=True, **SMALL)
    assert contents(folder)[str(folder / "plain")] == TEXT[:400_000]


def _unless_poisonous(call, args):
    if args[0].path.endswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*args)


class Poisoned(ProcessPoolExecutor):
    """Processes that die of one object."""

    def submit(self, call, /, *args):
        return super().submit(_unless_poisonous, call, args)


@pytest.mark.parametrize("retries", [0, 3])
def test_an_object_that_kills_its_worker_fails_no_other_one(tmp_path, retries):
    for number in range(7):
        (tmp_path / f"{number}").write_bytes(TEXT[number * 100_000 : number * 100_000 + 200_000])
    (tmp_path / "3-poison").write_bytes(TEXT[:200_000])
    before = contents(tmp_path)
    report = lmfs.pack(str(tmp_path), None, lambda: Poisoned(2), exclusive=True, retries=retries, **SMALL)
    assert {os.path.basename(path) for path in report.errors} == {"3-poison"}, report
    assert (report.objects, report.packed) == (8, 7)
    assert (tmp_path / "3-poison").read_bytes() == TEXT[:200_000] and contents(tmp_path) == before


class Unreliable(Executor):
    """Loses work, does it late, does it twice, and damages what comes back."""

    def __init__(self, seed):
        self.pool, self.choose, self.lock = ThreadPoolExecutor(4), random.Random(seed), threading.Lock()

    def submit(self, call, /, *args):
        with self.lock:
            kind = self.choose.choice(["well", "well", "fails", "lost", "late", "damaged"])
        if kind == "lost":
            return Future()
        if kind == "fails":
            call = _fail
        return self.pool.submit(self._run, kind, call, args)

    def _run(self, kind, call, args):
        if kind == "late":
            time.sleep(0.3)
        result = call(*args)
        if kind == "damaged" and isinstance(result, _work.Piece):
            blocks = bytearray(result.blocks)
            blocks[len(blocks) // 2] ^= 1
            return _work.Piece(bytes(blocks), result.sum)
        return result


def _fail(*_):
    raise OSError("for the test")


def test_workers_that_fail_are_late_or_damage_something(tmp_path, folder):
    here, seed = packed_here(tmp_path, folder), random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    report = lmfs.pack(str(folder), None, Unreliable(seed), exclusive=True, again=0.1, retries=1000, **SMALL)
    assert not report.errors and stored(folder) == here


def test_errors_are_told_and_the_others_are_packed(folder):
    container = (folder / "in" / "container").read_bytes()
    (folder / "cut").write_bytes(container[:-5])
    (folder / "damaged").write_bytes(container[:5000] + b"?" + container[5001:])
    report = lmfs.pack(fsspec.filesystem("file"), [str(folder), str(folder / "none")], exclusive=True, **SMALL)
    assert report.packed == 3
    kinds = {os.path.basename(path): type(error) for path, error in report.errors.items()}
    assert kinds == {"cut": lmfs.DamagedError, "damaged": lmfs.DamagedError, "none": FileNotFoundError}
    assert (folder / "damaged").read_bytes() == container[:5000] + b"?" + container[5001:]
    flaky = lmfs.pack(str(folder / "noise"), None, lambda: _Failing(2), exclusive=True, retries=3, **SMALL)
    assert flaky.kept == 1
    lost = lmfs.pack(str(folder / "noise"), None, lambda: _Failing(9), exclusive=True, retries=3, **SMALL)
    assert str(lost.errors[str(folder / "noise")]) == "for the test"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_files_keep_their_owner(folder, monkeypatch):
    os.chown(folder / "plain", 1234, 5678)
    os.chmod(folder / "plain", 0o4750)
    fchown = os.fchown

    def refused(*_):
        raise PermissionError("for the test")

    monkeypatch.setattr(os, "fchown", refused)
    report = lmfs.pack(str(folder / "plain"), exclusive=True, **SMALL)
    assert isinstance(report.errors[str(folder / "plain")], PermissionError)
    assert (folder / "plain").read_bytes() == TEXT[:400_000] and not list(folder.glob(".lmfs-*"))
    monkeypatch.setattr(os, "fchown", fchown)
    assert lmfs.pack(str(folder / "plain"), exclusive=True, **SMALL).packed == 1
    found = (folder / "plain").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 5678, 0o4750)


@pytest.mark.parametrize("encryption", [None, "AES256", "aws:kms", "aws:kms:dsse"])
def test_a_swap_on_s3_keeps_encryption_and_expires(monkeypatch, encryption):
    head = {"ETag": '"1"', "TagCount": 0, "Expires": "tomorrow", "SSEKMSKeyId": "key", "BucketKeyEnabled": True}
    head |= {"ServerSideEncryption": encryption} if encryption else {}
    put = {}

    def call(self, method, path, **options):
        if method == "head_object":
            return head
        assert method == "put_object"
        put.update(options)

    monkeypatch.setattr(_bucket.S3, "_call", call)
    _bucket.S3(fsspec.filesystem("memory")).swap("bucket/key", '"1"', b"packed")
    expected = {"Body": b"packed", "IfMatch": '"1"', "Expires": "tomorrow"}
    if encryption:
        expected["ServerSideEncryption"] = encryption
    if encryption and encryption.startswith("aws:kms"):
        expected |= {"SSEKMSKeyId": "key", "BucketKeyEnabled": True}
    assert put == expected


class _Failing(ThreadPoolExecutor):
    def __init__(self, times):
        super().__init__(1)
        self.times = times

    def submit(self, call, /, *args):
        self.times -= 1
        return super().submit(call if self.times < 0 else _fail, *args)


def test_wrong_options_are_told(folder):
    with pytest.raises(ValueError, match="exclusive"):
        lmfs.pack(str(folder))
    with pytest.raises(ValueError, match="which paths"):
        lmfs.pack(fsspec.filesystem("file"), exclusive=True)
    with pytest.raises(ValueError, match="pieces of 5 bytes"):
        lmfs.pack(str(folder), exclusive=True, piece=5)
    with pytest.raises(ValueError):
        lmfs.pack(str(folder), exclusive=True, level=10)
    large = lmfs.pack(str(folder), exclusive=True, largest=100_000, **SMALL)
    assert (folder / "plain").read_bytes() == TEXT[:400_000] and large.packed == 2


def test_an_executor_is_not_flooded(folder):
    """A mail full of pieces would fill the memory of whoever hands them out."""
    most, flying, lock = [0], [0], threading.Lock()

    class Counting(ThreadPoolExecutor):
        def submit(self, call, /, *args):
            with lock:
                flying[0] += 1
                most[0] = max(most[0], flying[0])
            future = super().submit(call, *args)
            future.add_done_callback(self._ended)
            return future

        def _ended(self, _):
            with lock:
                flying[0] -= 1

    with Counting(2) as executor:
        assert lmfs.pack(str(folder), None, executor, exclusive=True, tasks=3, **SMALL).packed == 3
    assert 1 < most[0] <= 3


class Conditional(_bucket.Bucket):
    """A filesystem in memory with conditional writes."""

    conditional = True
    lock = threading.RLock()
    #: Lets two writers win.
    careless = False

    def version(self, info):
        return hashlib.md5(self.fs.store[info["name"]].getvalue()).hexdigest()

    def _data(self, path):
        path = self.fs._strip_protocol(path)
        return self.fs.store[path].getvalue() if path in self.fs.store else None

    def read(self, path, version, start, end):
        with self.lock:
            data = self._data(path)
        if data is None or hashlib.md5(data).hexdigest() != version:
            raise _bucket.Changed(path)
        return data[start:end]

    def create(self, path, data):
        return self._put(path, None, data)

    def update(self, path, version, data):
        return self._put(path, version, data)

    swap = update

    def _put(self, path, version, data):
        if self.careless:
            found = self._data(path)
            time.sleep(0.01)
            if version == (None if found is None else hashlib.md5(found).hexdigest()):
                self.fs.pipe_file(path, data)
                return hashlib.md5(data).hexdigest()
            raise _bucket.Changed(path)
        with self.lock:
            found = self._data(path)
            if version != (None if found is None else hashlib.md5(found).hexdigest()):
                raise _bucket.Changed(path)
            self.fs.pipe_file(path, data)
        return hashlib.md5(data).hexdigest()


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.setitem(_bucket.BUCKETS, "memory", Conditional)
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    return fs


def test_two_packers_and_a_writer_lose_nothing(memory):
    """Each state that the writer made is there, whatever the packers do, until it makes the next."""
    bucket, rounds, over = Conditional(memory), 200, threading.Event()
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    choose, wrong, outcomes = random.Random(seed), [], set()
    memory.pipe_file("/key", TEXT[:3000])

    def pack():
        while not over.is_set():
            report = lmfs.pack(memory, "/key", level=4, block_size=4096, tasks=1)
            wrong.extend(report.errors.values())
            outcomes.add(("changed", bool(report.changed)))
            outcomes.add(("packed", bool(report.packed)))

    threads = [threading.Thread(target=pack) for _ in range(2)]
    [thread.start() for thread in threads]
    expected = TEXT[:3000]
    fs = fsspec.filesystem("lmfs", target_protocol="memory", skip_instance_cache=True)
    for _ in range(rounds):
        time.sleep(choose.random() * 0.03)
        found = fs.cat_file("/key")
        if found != expected:
            wrong.append(found[:50])
        start = choose.randrange(len(TEXT) - 5000)
        following = TEXT[start : start + choose.randrange(2000, 5000)]
        # On the condition that nobody else wrote in between.
        while True:
            version = hashlib.md5(memory.cat_file("/key")).hexdigest()
            try:
                bucket.update("/key", version, following)
                break
            except _bucket.Changed:
                continue
        expected = following
    over.set()
    [thread.join() for thread in threads]
    assert not wrong and fs.cat_file("/key") == expected
    assert ("packed", True) in outcomes, "nothing raced"


def test_a_careless_server_is_refused(memory, monkeypatch):
    memory.pipe_file("/key", TEXT[:100_000])
    _bucket.probe(Conditional(memory), "/")
    monkeypatch.setattr(Conditional, "careless", True)
    with pytest.raises(OSError, match="several writers win"):
        lmfs.pack(memory, "/key", **SMALL)
    assert memory.cat_file("/key") == TEXT[:100_000] and list(memory.store) == ["/key"]


def test_another_version_of_lmfs_is_refused(folder):
    what = next(iter(_pack.objects(_bucket.bucket_of(fsspec.filesystem("file"), True), [str(folder / "plain")])))
    settings = _pack.new_settings(4, 4096, None, 1 << 20, containers_only=False, dry_run=False)
    with pytest.raises(RuntimeError, match="a worker has lmfs"):
        _work.look(what, _pack.replace(settings, lmfs="0.0.0"))


def test_ctrl_c_ends_threads_that_code(tmp_path):
    import subprocess

    (tmp_path / "text").write_bytes(TEXT)
    program = """
import signal, sys, threading
import lmfs
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(1.5, lambda: print("begun", flush=True)).start()
lmfs.pack(sys.argv[1], level=9, exclusive=True)
"""
    arguments = [sys.executable, "-c", program, str(tmp_path / "text")]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
        assert b"KeyboardInterrupt" in told, told
    finally:
        process.kill()
    assert (tmp_path / "text").read_bytes() == TEXT


def test_dask_workers_of_which_one_is_killed(tmp_path, folder):
    distributed = pytest.importorskip("distributed")
    here = packed_here(tmp_path, folder)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", local_directory=str(tmp_path.parent)
    )
    with cluster, distributed.Client(cluster) as client:
        victims = list(client.run(os.getpid).values())
        told = []

        def kill(path, outcome):
            if not told:
                os.kill(victims[0], signal.SIGKILL)
            told.append((path, outcome))

        report = lmfs.pack(str(folder), None, client.get_executor(), exclusive=True, progress=kill, **SMALL)
        assert victims[0] not in client.run(os.getpid).values()
    assert report.packed == 3 and not report.errors and stored(folder) == here
