#!/usr/bin/env python3
"""Compares two programs by what their daemons take for the same work, without a model and without packing.

usage: daemons.py [--turns N] [--megabytes N] BEFORE AFTER

The programs mount new stores by turns. The work is to write and sync one file of text, to read it again and again past
the kernel's cache when its blocks are decoded, and to make and remove folders. A row has the median of the processor
time of BEFORE in seconds, and the median of the ratios AFTER / BEFORE within a turn. It counts in ticks of the kernel,
mostly 10 ms, so choose a size at which each row takes a second.
"""
import argparse
import os
import statistics
import tempfile
from pathlib import Path

from stores import TICKS, Mount, run

WORK = ("write and sync", "cached reads of 128 KiB, O_DIRECT", "folders made and removed")


def text(size):
    lines = (f"{n:08} {n * 7919 % 100003:06} the quick brown fox\n".encode() for n in range(size // 30))
    return b"".join(lines)


def write(point, data):
    with open(point / "file", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read(point, count):
    for _ in range(count):
        run("dd", f"if={point / 'file'}", "of=/dev/null", "bs=128k", "iflag=direct")


def folders(point, count):
    for number in range(count):
        (point / str(number)).mkdir()
    for number in range(count):
        (point / str(number)).rmdir()


def measure(program, data):
    """Processor time of each kind of work, in seconds."""
    with tempfile.TemporaryDirectory(prefix="lmfs-daemons.") as name:
        store, point = Path(name, "store"), Path(name, "mnt")
        point.mkdir()
        run(program, "init", store, "--model", "none")
        with Mount(program, store, point) as mount:
            taken = [mount.cpu()]
            write(point, data)
            taken.append(mount.cpu())
            read(point, 200)
            taken.append(mount.cpu())
            folders(point, 15_000)
            taken.append(mount.cpu())
        return [after - before for before, after in zip(taken, taken[1:])]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=30)
    parser.add_argument("before")
    parser.add_argument("after")
    given = parser.parse_args()
    programs = [os.path.abspath(given.before), os.path.abspath(given.after)]
    data, rows = text(given.megabytes * 1_000_000), []
    for turn in range(given.turns):
        # Neither is always the first.
        order = programs if turn % 2 == 0 else programs[::-1]
        found = {program: measure(program, data) for program in order}
        rows.append([found[program] for program in programs])
    print("| work | before, s | after / before |")
    print("|---|---|---|")
    for at, what in enumerate(WORK):
        before = statistics.median(row[0][at] for row in rows)
        ratio = statistics.median(row[1][at] / max(row[0][at], 1 / TICKS) for row in rows)
        print(f"| {what} | {before:.2f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
