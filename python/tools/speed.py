"""How fast compressed files are read, beside the package zstandard.  usage: python speed.py [FILE]

All are run by turns, and the best of eleven counts: in CPU time, as other work may be running, and in wall time."""

import io
import sys
import time

import zstandard

import lmfs

if len(sys.argv) > 1:
    data = open(sys.argv[1], "rb").read()
else:
    lines = (b"%010d GET /pages/%d/index.html 200 %d\n" % (n, n // 13, n * 7919 % 100_000) for n in range(2_000_000))
    data = b"".join(lines)

frame = zstandard.ZstdCompressor(level=3).compress(data)
works = {
    "zstandard, one frame of known size": lambda: zstandard.ZstdDecompressor().decompress(frame),
    "zstandard, stream": lambda: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame)).readall(),
}
for block_size in (65536, 1 << 20):
    packed = lmfs.compress(data, level=1, block_size=block_size)
    for threads in (1, 0):
        kind = f"blocks of {block_size >> 10} KiB, {'one thread' if threads else 'all cores'}"
        works[f"lmfs.open().read(), {kind}"] = lambda packed=packed, threads=threads: lmfs.open(
            io.BytesIO(packed), threads=threads
        ).read()
works["lmfs.compress(level=1)"] = lambda: lmfs.compress(data, level=1)

best = {name: (float("inf"), float("inf")) for name in works}
for _ in range(11):
    for name, work in works.items():
        begun, cpu = time.perf_counter(), time.process_time()
        work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
        best[name] = min(best[name][0], cpu), min(best[name][1], wall)

(one, _), (stream, _) = list(best.values())[:2]
print(f"{len(data)} bytes")
for name, (cpu, wall) in best.items():
    rates = f"{len(data) / cpu / 1e6:6.0f} MB/s CPU, {len(data) / wall / 1e6:6.0f} MB/s wall"
    print(f"{name:56} {rates}, of the stream {stream / cpu:.2f}, of the frame {one / cpu:.2f}")
