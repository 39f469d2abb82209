"""The same table read by pandas, PyArrow, DuckDB and Dask from a bucket: plain, and compressed at several levels.

usage: python libraries.py ENDPOINT BUCKET [MEGABYTES] [LEVEL...]      (default: 20 MB, levels 1 and 4)

ENDPOINT is a server that speaks S3, such as tests/s3/server.py. Each result is compared with that of the plain file.
CPU time is that of this process, and the server's is not in it."""

import functools
import json
import sys
import time

import dask.dataframe
import duckdb
import fsspec
import pandas
import pyarrow.csv
import pyarrow.dataset
import pyarrow.json
from pyarrow.fs import FSSpecHandler, PyFileSystem

import lmfs

ENDPOINT, BUCKET = sys.argv[1:3]
SIZE = float(sys.argv[3]) * 1e6 if len(sys.argv) > 3 else 20e6
LEVELS = [int(level) for level in sys.argv[4:]] or [1, 4]
OPTIONS = {
    "key": "testing",
    "secret": "testing",
    "endpoint_url": ENDPOINT,
    "client_kwargs": {"region_name": "us-east-1"},
}


class Counter:
    """Requests to the bucket and the bytes of their answers."""

    def __init__(self, fs):
        self.requests = self.bytes = 0
        self.call, fs._call_s3 = fs._call_s3, self

    async def __call__(self, method, *args, **options):
        answer = await self.call(method, *args, **options)
        self.requests += 1
        if method == "get_object":
            self.bytes += answer["ContentLength"]
        return answer

    def take(self):
        taken = self.requests, self.bytes
        self.requests = self.bytes = 0
        return taken


def rows():
    for n in range(1 << 40):
        status = 200 if n % 11 else 404
        yield n, 1_700_000_000 + n // 3, f"/pages/{n // 13 % 977}/index.html", status, n * 7919 % 100_000


def written(as_json):
    parts, size = [] if as_json else [b"number,time,path,status,bytes\n"], 0
    for row in rows():
        if as_json:
            line = json.dumps(dict(zip(("number", "time", "path", "status", "bytes"), row))) + "\n"
        else:
            line = ",".join(map(str, row)) + "\n"
        parts.append(line.encode())
        size += len(line)
        if size >= SIZE:
            return b"".join(parts)


QUERY = "SELECT status, count(*), sum(bytes)::BIGINT FROM read_{kind}_auto('{path}') GROUP BY status ORDER BY status"


def by_pandas(kind, path, fs):
    with fs.open(path, "rb") as file:
        table = pandas.read_csv(file) if kind == "csv" else pandas.read_json(file, lines=True)
    return summed(table)


def by_pyarrow(kind, path, fs):
    fs = PyFileSystem(FSSpecHandler(fs))
    return summed(pyarrow.dataset.dataset(path, filesystem=fs, format=kind).to_table().to_pandas())


def by_duckdb(kind, path, fs):
    connection = duckdb.connect()
    connection.register_filesystem(fs)
    # Its own protocol, so that DuckDB does not look for an extension.
    name = "lmfs" if fs.protocol == "lmfs" else "s3"
    return connection.execute(QUERY.format(kind=kind, path=f"{name}://{path}")).fetchall()


def by_dask(kind, path, fs):
    chain = "lmfs::s3" if fs.protocol == "lmfs" else "s3"
    options = {"s3": OPTIONS} if fs.protocol == "lmfs" else OPTIONS
    read = dask.dataframe.read_csv if kind == "csv" else functools.partial(dask.dataframe.read_json, lines=True)
    table = read(f"{chain}://{path}", storage_options=options, blocksize=4 << 20)
    return summed(table.compute(scheduler="threads"))


def summed(table):
    groups = table.groupby("status")["bytes"].agg(["count", "sum"])
    return [(int(status), int(count), int(total)) for status, count, total in groups.itertuples()]


def main():
    s3 = fsspec.filesystem("s3", **OPTIONS)
    count = Counter(s3)
    packed = fsspec.filesystem("lmfs", fs=s3)
    if not s3.exists(BUCKET):
        s3.mkdir(BUCKET)
    print("| library | file | stored as | MB stored | MB fetched | requests | s | s CPU |")
    print("|---|---|---|---|---|---|---|---|")
    readers = {"pandas": by_pandas, "PyArrow": by_pyarrow, "DuckDB": by_duckdb, "Dask": by_dask}
    for kind in ("csv", "json"):
        content = written(kind == "json")
        forms = {"plain": (s3, content)}
        for level in LEVELS:
            forms[f"level {level}"] = packed, lmfs.compress(content, level=level, block_size=1 << 16)
        for name, (fs, stored) in forms.items():
            s3.pipe_file(f"{BUCKET}/{name}.{kind}", stored)
        for library, read in readers.items():
            expected = None
            for name, (fs, stored) in forms.items():
                fs.invalidate_cache()
                count.take()
                begun, cpu = time.perf_counter(), time.process_time()
                found = read(kind, f"{BUCKET}/{name}.{kind}", fs)
                wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
                requests, fetched = count.take()
                expected = expected or found
                if found != expected:
                    sys.exit(f"{library} reads something else from {name}.{kind}: {found}, not {expected}")
                sizes = f"{len(stored) / 1e6:.2f} | {fetched / 1e6:.2f} | {requests}"
                print(f"| {library} | {kind} | {name} | {sizes} | {wall:.2f} | {cpu:.2f} |", flush=True)


main()
