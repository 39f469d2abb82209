"""What packing and reading takes of one core, by level.  usage: python rates.py FILE..."""

import sys
import time

import lmfs
from lmfs import _core


def timed(call, *args):
    begun = time.process_time()
    result = call(*args)
    return result, time.process_time() - begun


print("| file | level | size | packing, µs a byte | reading, µs a byte |")
print("|---|---|---|---|---|")
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        # Whole blocks.
        data = file.read(4 << 16)
    for level in (1, 4, 5, 6):
        packer = _core.Packer(level, 1 << 16)
        # Loads the model.
        packer.encode(b"x" * 5000)
        blocks, packing = timed(packer.encode, data)
        stored, _, _ = packer.join([blocks])
        found, reading = timed(lambda: lmfs.decompress(stored, threads=1))
        assert found == data
        size, each = len(stored) / len(data), 1e6 / len(data)
        print(f"| {path} | {level} | {size:.3f} | {packing * each:.2f} | {reading * each:.2f} |", flush=True)
