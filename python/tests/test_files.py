"""Compressing, and files that are read at any place."""

import io
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import lmfs

TEXT = b"".join(b"%08d GET /page/%d 200\n" % (n, n // 13) for n in range(40_000))


@pytest.mark.parametrize("level", [1, 2, 4])
@pytest.mark.parametrize("content", [b"", b"x", TEXT[:70_000], os.urandom(70_000)], ids=["empty", "one", "text", "noise"])
def test_round_trip(level, content):
    packed = lmfs.compress(content, level=level, block_size=16384)
    assert lmfs.decompress(packed) == content
    assert lmfs.decompress(memoryview(packed + packed)) == content * 2


def test_the_language_model_is_in_the_wheel():
    text = (pathlib.Path(__file__).parents[2] / "tests/data/text/alice29.txt").read_bytes()[:8000]
    packed = lmfs.compress(text, level=5)
    assert len(packed) < len(lmfs.compress(text, level=2)) * 0.8
    assert lmfs.decompress(packed) == text


def test_seeking(tmp_path):
    path = tmp_path / "text.lmz"
    with lmfs.open(path, "wb", level=1, block_size=4096) as out:
        for start in range(0, len(TEXT), 7001):
            out.write(TEXT[start : start + 7001])
        assert out.tell() == len(TEXT)
    assert lmfs.info(path)["size"] == len(TEXT)
    assert lmfs.info(path)["stored_size"] == path.stat().st_size < len(TEXT) / 2
    with lmfs.open(path) as file:
        plain = io.BytesIO(TEXT)
        choose = random.Random(1)
        for _ in range(300):
            kind = choose.choice(["seek", "read", "line", "end", "pread"])
            where, length = choose.randrange(len(TEXT) + 100), choose.choice([0, 1, 100, 5000, 100_000])
            if kind == "seek":
                assert file.seek(where) == plain.seek(where)
            elif kind == "read":
                assert file.read(length) == plain.read(length)
            elif kind == "line":
                assert file.readline() == plain.readline()
            elif kind == "end":
                assert file.seek(-min(where, len(TEXT)), io.SEEK_END) == plain.seek(-min(where, len(TEXT)), io.SEEK_END)
            else:
                assert file.pread(where, length) == TEXT[where : where + length]
            assert file.tell() == plain.tell()
        file.seek(0)
        assert file.read() == TEXT
        assert file.read_ranges([(5, 10), (500_000, 3)]) == [TEXT[5:15], TEXT[500_000:500_003]]
        with pytest.raises(ValueError):
            file.seek(-1)
    with io.TextIOWrapper(lmfs.open(path)) as text:
        assert sum(1 for _ in text) == 40_000
    with pytest.raises(ValueError):
        file.read(1)


class Counting(io.BytesIO):
    """Counts what is read."""

    bytes = 0

    def read(self, size=-1):
        data = super().read(size)
        self.bytes += len(data)
        return data


def test_a_short_read_reads_one_block():
    packed = Counting(lmfs.compress(os.urandom(3_000_000), level=1, block_size=65536))
    file = lmfs.open(packed)
    assert packed.bytes < 40_000
    packed.bytes = 0
    file.pread(1_000_000, 100)
    assert packed.bytes <= 65536 + 26
    file.pread(1_000_100, 100)
    assert packed.bytes <= 65536 + 26


def test_who_reads_on_in_short_pieces_makes_few_reads():
    """Regression: each block was a request of its own, which over a network takes longer than the rest."""
    data = random.Random(3).randbytes(3_000_000)

    class Asked(Counting):
        reads = 0

        def read(self, size=-1):
            self.reads += 1
            return super().read(size)

    packed = Asked(lmfs.compress(data, level=1, block_size=16384))
    file = lmfs.open(packed)
    packed.reads = packed.bytes = 0
    found = b"".join(iter(lambda: file.read(5000), b""))
    assert found == data and packed.reads <= 12, packed.reads
    # Nothing is read twice.
    assert packed.bytes < len(packed.getvalue())
    # From another place on, and by several who share it.
    file.seek(1_000_000)
    assert file.read(100_000) == data[1_000_000:1_100_000]
    small = lmfs.open(packed, cache_bytes=20_000, threads=3)
    for at in list(range(0, 600_000, 7000)) + list(range(0, 600_000, 11_000)):
        assert small.pread(at, 7000) == data[at : at + 7000]
        assert small.pread(at + 2_000_000, 7000) == data[at + 2_000_000 : at + 2_007_000]


def test_damage_ahead_is_told_to_who_reads_it():
    data = random.Random(4).randbytes(200_000)
    packed = bytearray(lmfs.compress(data, level=1, block_size=4096))
    packed[len(packed) * 3 // 4] ^= 1
    file = lmfs.open(io.BytesIO(packed), threads=8)
    found = b""
    with pytest.raises(lmfs.DamagedError):
        while piece := file.read(1000):
            found += piece
    assert data.startswith(found) and len(found) > 200_000 * 3 // 4 - 3 * 4096


def test_short_reads_ahead_are_bounded():
    """A block of zeros says nothing about those behind it."""
    data = bytes(200_000) + random.Random(5).randbytes(30_000_000)
    packed = Counting(lmfs.compress(data, level=1, block_size=65536))
    file = lmfs.open(packed)
    for at in (0, 65536, 131_072):
        packed.bytes = 0
        assert file.pread(at, 10) == data[at : at + 10]
        assert packed.bytes < 2_000_000, packed.bytes


def test_a_long_file_is_read_in_pieces():
    """More than is read at a time, and from the middle of a block to the middle of another."""
    data = random.Random(2).randbytes(1 << 20) * 20
    file = Counting(lmfs.compress(data, level=1, block_size=4096))
    reader = lmfs.open(file)
    for start, end in ((0, len(data)), (5000, len(data) - 5000), (len(data) - 100, len(data))):
        assert reader.pread(start, end - start) == data[start:end]
    damaged = bytearray(file.getvalue())
    damaged[len(damaged) - len(damaged) // 8] ^= 1
    with pytest.raises(lmfs.DamagedError):
        lmfs.open(io.BytesIO(damaged)).read()


def test_threads_read_side_by_side():
    file = lmfs.open(io.BytesIO(lmfs.compress(TEXT, level=1, block_size=4096)), cache_bytes=100_000)
    failed = []

    def work(seed):
        choose = random.Random(seed)
        for _ in range(50):
            at = choose.randrange(len(TEXT))
            if file.pread(at, 20_000) != TEXT[at : at + 20_000]:
                failed.append(at)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed


def test_what_is_damaged_is_told():
    packed = bytearray(lmfs.compress(TEXT, level=1, block_size=4096))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(lmfs.DamagedError):
        lmfs.decompress(packed)
    file = lmfs.open(io.BytesIO(packed))
    assert file.read(4096) == TEXT[:4096]
    with pytest.raises(lmfs.DamagedError):
        file.read()
    for cut in (1, 30, len(packed) - 10):
        with pytest.raises(lmfs.DamagedError):
            lmfs.open(io.BytesIO(packed[:-cut]))
    with pytest.raises(lmfs.NotAContainerError):
        lmfs.decompress(TEXT)
    with pytest.raises(lmfs.NotAContainerError):
        lmfs.open(io.BytesIO(TEXT))


def test_wrong_options_are_told():
    for options in ({"level": 0}, {"level": 10}, {"block_size": 100}, {"model": "builtin:nothing"}):
        with pytest.raises((ValueError, OSError)):
            lmfs.compress(b"x", **options)
    with pytest.raises(ValueError):
        lmfs.open("x", "ab")
    with pytest.raises(FileNotFoundError):
        lmfs.open("/nowhere/at/all")


def test_a_writer_that_fails_leaves_no_whole_file(tmp_path):
    path = tmp_path / "cut.lmz"
    with pytest.raises(KeyError):
        with lmfs.open(path, "wb", level=1) as out:
            out.write(TEXT)
            raise KeyError
    with pytest.raises(lmfs.DamagedError):
        lmfs.open(path).read()
    with pytest.raises(FileExistsError):
        lmfs.open(path, "xb")


@pytest.mark.filterwarnings("ignore:what was written is incomplete")
def test_a_writer_in_a_wrapper_that_fails_leaves_no_whole_file(tmp_path):
    """Regression: text and what was forgotten became a whole file."""
    path = tmp_path / "cut.lmz"
    with pytest.raises(KeyError):
        with io.TextIOWrapper(lmfs.open(path, "wb", level=1)) as out:
            out.write("x" * 100_000)
            raise KeyError
    with pytest.raises(lmfs.DamagedError):
        lmfs.open(path)
    out = lmfs.open(path, "wb", level=1)
    out.write(TEXT)
    del out
    with pytest.raises(lmfs.DamagedError):
        lmfs.open(path)
    with io.TextIOWrapper(lmfs.open(path, "wb", level=1)) as out:
        out.write("text")
    assert lmfs.open(path).read() == b"text"


def test_other_threads_run_while_something_is_compressed():
    ticks = []
    over = threading.Event()

    def tick():
        while not over.is_set():
            ticks.append(None)
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    lmfs.compress(TEXT[:300_000], level=4)
    over.set()
    thread.join()
    assert len(ticks) > 10


def test_ctrl_c_ends_it():
    # A shell lets its background jobs ignore the signal, and this may be one.
    program = """
import signal
import lmfs
signal.signal(signal.SIGINT, signal.default_int_handler)
print("begun", flush=True)
lmfs.compress(b"To be or not to be. " * 200_000, level=9)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"begun\n"
        time.sleep(1)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert b"KeyboardInterrupt" in told
        assert time.monotonic() - begun < 20
    finally:
        process.kill()


class _Watched:
    """A layout that notes how much is decoded at a time."""

    def __init__(self, layout):
        self.layout, self.decoded = layout, []

    def __getattr__(self, name):
        return getattr(self.layout, name)

    def decode(self, start, end, stretches, fronts):
        self.decoded.append(end - start)
        return self.layout.decode(start, end, stretches, fronts)


@pytest.mark.parametrize(("cache_bytes", "most"), [(1 << 20, 8), (3 << 14, 3), (1000, 1)])
def test_no_more_is_decoded_ahead_than_is_kept(cache_bytes, most):
    """What was decoded ahead and then dropped was decoded once more, block by block."""
    content = b"".join(b"%08d\n" % number for number in range(100_000))
    stored = lmfs.compress(content, level=1, block_size=1 << 14)
    with lmfs.LmzReader(io.BytesIO(stored), threads=8, cache_bytes=cache_bytes) as file:
        watched = file._blocks.layout = _Watched(file._blocks.layout)
        read = b"".join(iter(lambda: file.read(5000), b""))
    assert read == content
    assert sum(watched.decoded) == len(content), "something was decoded twice"
    assert max(watched.decoded) == most << 14
