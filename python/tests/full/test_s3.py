"""Packing over a server that speaks S3. LMFS_TEST_S3 is its address."""

import hashlib
import os
import random
import threading
import time

import fsspec
import pytest

import lmfs
from lmfs import _bucket

FileExpired = pytest.importorskip("s3fs.utils").FileExpired
SERVER = os.environ.get("LMFS_TEST_S3")
if SERVER is None:
    pytest.skip("LMFS_TEST_S3 is not set", allow_module_level=True)

TEXT = b"".join(b"%08d GET /page/%d 200 %d\n" % (n, n // 13, n * 7919 % 1000) for n in range(30_000))
SMALL = {"level": 4, "block_size": 16384, "piece": 65536}
OPTIONS = {
    "key": "testing",
    "secret": "testing",
    "endpoint_url": SERVER,
    "client_kwargs": {"region_name": "us-east-1"},
    "skip_instance_cache": True,
}
BUCKET = os.environ.get("LMFS_TEST_S3_BUCKET", "lmfs-test")


@pytest.fixture
def s3(request):
    fs = fsspec.filesystem("s3", **OPTIONS)
    fs.prefix = f"{BUCKET}/{request.node.name}"
    yield fs
    fs.invalidate_cache()
    if fs.exists(fs.prefix):
        fs.rm(fs.prefix, recursive=True)


def test_objects_are_packed_and_keep_what_belongs_to_them(s3):
    plain, staged = f"{s3.prefix}/plain", f"{s3.prefix}/staged"
    s3.pipe_file(plain, TEXT, ContentType="text/x-log", Metadata={"who": "me"}, Tagging="kind=log&year=2026")
    fs = fsspec.filesystem("lmfs", fs=s3)
    fs.pipe_file(staged, TEXT[:500_000])
    report = lmfs.pack(f"s3://{s3.prefix}", storage_options=OPTIONS, **SMALL)
    assert (report.objects, report.packed) == (2, 2), report
    s3.invalidate_cache()
    assert fs.cat_file(plain) == TEXT and fs.cat_file(staged) == TEXT[:500_000]
    assert s3.cat_file(plain) == lmfs.compress(TEXT, level=4, block_size=16384)
    bucket, key, _ = s3.split_path(plain)
    head = s3.call_s3("head_object", Bucket=bucket, Key=key)
    assert head["ContentType"] == "text/x-log" and head["Metadata"] == {"who": "me"}
    tags = s3.call_s3("get_object_tagging", Bucket=bucket, Key=key)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"kind": "log", "year": "2026"}
    again = lmfs.pack(fs, [f"lmfs://{s3.prefix}"], **SMALL)
    assert (again.packed, again.already) == (0, 2)
    # The probe leaves nothing behind.
    s3.invalidate_cache()
    assert sorted(s3.find(s3.prefix)) == [plain, staged]


def test_reads_and_writes_name_the_version(s3):
    path = f"{s3.prefix}/object"
    s3.pipe_file(path, b"one")
    bucket = _bucket.bucket_of(s3, False)
    s3.invalidate_cache()
    version = bucket.version(s3.info(path))
    assert bucket.read(path, version, 1, 3) == b"ne"
    s3.pipe_file(path, b"two")
    with pytest.raises(_bucket.Changed):
        bucket.read(path, version, 1, 3)
    with pytest.raises(_bucket.Changed):
        bucket.swap(path, version, b"three")
    with pytest.raises(_bucket.Changed):
        bucket.create(path, b"four")
    assert s3.cat_file(path) == b"two"
    s3.rm_file(path)
    for lost in (lambda: bucket.read(path, version, 0, 1), lambda: bucket.swap(path, version, b"five")):
        with pytest.raises(_bucket.Changed):
            lost()


def test_a_lost_answer_is_no_failure(s3, monkeypatch):
    """The client asks again, and its own object is in the way."""
    path = f"{s3.prefix}/object"
    s3.pipe_file(path, TEXT)
    bucket = _bucket.bucket_of(s3, False)
    s3.invalidate_cache()
    version = bucket.version(s3.info(path))
    call = s3._call_s3

    async def twice(method, *args, **options):
        answer = await call(method, *args, **options)
        return await call(method, *args, **options) if method == "put_object" else answer

    monkeypatch.setattr(s3, "_call_s3", twice)
    bucket.swap(path, version, b"packed")
    monkeypatch.undo()
    assert s3.cat_file(path) == b"packed"


def test_two_packers_and_a_writer_lose_nothing(s3, request):
    path, over, wrong, packed = f"{s3.prefix}/key", threading.Event(), [], []
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    s3.pipe_file(path, TEXT[:3000])

    def pack():
        fs = fsspec.filesystem("s3", **OPTIONS)
        while not over.is_set():
            report = lmfs.pack(fs, path, level=4, block_size=4096, tasks=1)
            wrong.extend(report.errors.values())
            packed.append(report.packed)

    threads = [threading.Thread(target=pack) for _ in range(2)]
    [thread.start() for thread in threads]
    bucket, expected = _bucket.bucket_of(s3, False), TEXT[:3000]
    fs = fsspec.filesystem("lmfs", fs=s3)
    request.addfinalizer(lambda: (over.set(), [thread.join() for thread in threads]))
    for _ in range(int(os.environ.get("LMFS_RACES", 30))):
        time.sleep(choose.random() * 0.3)
        while True:
            s3.invalidate_cache()
            version = bucket.version(s3.info(path))
            start = choose.randrange(len(TEXT) - 5000)
            following = TEXT[start : start + choose.randrange(2000, 5000)]
            try:
                found = fs.cat_file(path)
            except FileExpired:
                # It was packed while it was read.
                continue
            if found != expected:
                wrong.append(found[:50])
            try:
                bucket.update(path, version, following)
                break
            except _bucket.Changed:
                continue
        expected = following
    over.set()
    [thread.join() for thread in threads]
    s3.invalidate_cache()
    assert not wrong and fs.cat_file(path) == expected
    assert sum(packed), "nothing raced"


def test_processes_and_dask_pack_a_bucket(s3):
    distributed = pytest.importorskip("distributed")
    contents = {f"{s3.prefix}/{number}": TEXT[number * 1000 :] for number in range(4)}
    for path, content in contents.items():
        s3.pipe_file(path, content)
    expected = {path: lmfs.compress(content, level=4, block_size=16384) for path, content in contents.items()}
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as client:
        report = lmfs.pack(f"s3://{s3.prefix}", None, client.get_executor(), storage_options=OPTIONS, **SMALL)
    assert report.packed == 4 and not report.errors
    s3.invalidate_cache()
    assert {path: s3.cat_file(path) for path in contents} == expected
    assert hashlib.md5(s3.cat_file(f"{s3.prefix}/0")).hexdigest() == s3.info(f"{s3.prefix}/0")["ETag"].strip('"')
