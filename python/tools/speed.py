"""How fast compressed files are read, beside the package zstandard.  usage: python speed.py [FILE]"""

import io
import sys
import time

import zstandard

import lmfs

if len(sys.argv) > 1:
    data = open(sys.argv[1], "rb").read()
else:
    data = b"".join(b"%010d GET /pages/%d/index.html 200 %d\n" % (n, n // 13, n * 7919 % 100_000) for n in range(2_000_000))


def best(name, work):
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    print(f"{name:44} {len(data) / min(times) / 1e6:7.0f} MB/s")


frame = zstandard.ZstdCompressor(level=3).compress(data)
best("zstandard, one frame", lambda: zstandard.ZstdDecompressor().decompress(frame))
best("zstandard, stream", lambda: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame)).readall())
for block_size in (65536, 1 << 20):
    packed = lmfs.compress(data, level=1, block_size=block_size)
    for threads in (1, 0):
        kind = f"blocks of {block_size >> 10} KiB, {'one thread' if threads else 'all cores'}"
        best(f"lmfs.open().read(), {kind}", lambda: lmfs.open(io.BytesIO(packed), threads=threads).read())
best("lmfs.compress(level=1)", lambda: lmfs.compress(data, level=1))
