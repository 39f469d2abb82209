#!/usr/bin/env python3
"""Packs folders into stores with several programs or options by turns, and says what each takes.

usage: stores.py [--runs N] [--reads N] [--seed N] --with NAME=COMMAND... FOLDER...

COMMAND is a program and the options of `lmfs init`, for example
    --with size='target/release/lmfs --prefer size' --with before=/tmp/old/lmfs
Each folder is one store. A row has the bytes of the files, of the blocks and dictionaries, and of the whole store
folder, and the rate of packing (with the check that every block decodes) and of reading everything from a new mount.
Rates are in KB for each second of the daemon's processor time, the median of the runs, so that other work on the
machine matters little. --reads times reads of 4 KiB at random places, each in a new mount with nothing cached. All
files are compared with the originals.
"""
import argparse
import json
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Mount:
    """A store that is mounted, and its daemon."""

    def __init__(self, program, store, point):
        self.program, self.store, self.point = program, store, point

    def __enter__(self):
        run(self.program, "mount", self.store, self.point, "--pack=off")
        status = self.status()
        self.pid = status.get("pid") or status["mount"]["pid"]
        return self

    def __exit__(self, *_):
        run(self.program, "umount", self.point)

    def status(self):
        return json.loads(run(self.program, "status", "--json", self.point))

    def cpu(self):
        """Processor time of the daemon until now, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def run(*command):
    command = [str(part) for part in command]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def bytes_of(folder):
    return sum(path.stat().st_size for path in files(folder))


def measure(program, options, folder, work):
    """What one store of the folder takes."""
    store, point = work / "store", work / "mnt"
    shutil.rmtree(store, ignore_errors=True)
    point.mkdir(exist_ok=True)
    run(program, "init", *options, store)
    with Mount(program, store, point) as mount:
        run("cp", "-r", folder, point / "copy")
        run("sync", "-f", point)
        before = mount.cpu()
        run(program, "pack", point)
        packing = mount.cpu() - before
        status = mount.status()
    whole = bytes_of(store)
    with Mount(program, store, point) as mount:
        before = mount.cpu()
        for path in files(folder):
            if (point / "copy" / path.relative_to(folder)).read_bytes() != path.read_bytes():
                sys.exit(f"stores.py: {program} changed {path}")
        reading = mount.cpu() - before
    # Programs from before dictionaries say nothing of them.
    dictionaries = sum(one["stored_bytes"] for one in status.get("dictionaries", []))
    blocks = status["stored_bytes"] + dictionaries
    return {"blocks": blocks, "folder": whole, "packing": packing, "reading": reading}


def cold_reads(program, folder, work, count, choose):
    """Wall time, processor time and decoded blocks of reads of 4 KiB, each from a new mount of what was measured."""
    found = []
    every = [path for path in files(folder) if path.stat().st_size]
    sizes = [path.stat().st_size for path in every]
    for _ in range(count):
        path = choose.choices(every, sizes)[0]
        start = choose.randrange(path.stat().st_size) // 4096 * 4096
        with Mount(program, work / "store", work / "mnt") as mount:
            decodes, cpu, begun = mount.status()["cache"]["decodes"], mount.cpu(), time.monotonic()
            with open(work / "mnt" / "copy" / path.relative_to(folder), "rb", buffering=0) as file:
                got = os.pread(file.fileno(), 4096, start)
            wall = time.monotonic() - begun
            if got != path.read_bytes()[start:start + 4096]:
                sys.exit(f"stores.py: {program} changed {path} at {start}")
            found.append((wall, mount.cpu() - cpu, mount.status()["cache"]["decodes"] - decodes))
    return found


def quantile(values, share):
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--with", dest="programs", action="append", required=True)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--reads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("folders", nargs="+", type=Path)
    given = parser.parse_args()
    programs = {}
    for entry in given.programs:
        name, command = entry.split("=", 1)
        program, *options = shlex.split(command)
        programs[name] = (os.path.abspath(program), options)
    print("| folder | with | bytes | blocks | of raw | whole folder | packing, KB/s of a core | reading, KB/s of a core |")
    print("|---|---|---|---|---|---|---|---|")
    latencies = []
    with tempfile.TemporaryDirectory(prefix="lmfs-stores.") as name:
        work = Path(name)
        for folder in given.folders:
            raw, results = bytes_of(folder), {}
            for turn in range(given.runs):
                for name, (program, options) in programs.items():
                    results.setdefault(name, []).append(measure(program, options, folder, work))
                    if given.reads and turn == 0:
                        choose = random.Random(given.seed)
                        latencies.append((folder.name, name, cold_reads(program, folder, work, given.reads, choose)))
            for name, found in results.items():
                rate = {key: raw / 1000 / max(statistics.median(one[key] for one in found), 1 / TICKS)
                        for key in ("packing", "reading")}
                blocks, whole = found[0]["blocks"], found[0]["folder"]
                print(f"| {folder.name} | {name} | {raw} | {blocks} | {blocks / raw:.4f} | {whole} "
                      f"| {rate['packing']:.1f} | {rate['reading']:.1f} |", flush=True)
    if latencies:
        print(f"\n4 KiB at random places, {given.reads} reads for each, seed {given.seed}, milliseconds:\n")
        print("| folder | with | median | 99 % | median, processor | 99 %, processor | blocks decoded, mean and most |")
        print("|---|---|---|---|---|---|---|")
        for folder, name, found in latencies:
            wall, cpu, decodes = zip(*found)
            print(f"| {folder} | {name} | {quantile(wall, .5) * 1000:.0f} | {quantile(wall, .99) * 1000:.0f} "
                  f"| {quantile(cpu, .5) * 1000:.0f} | {quantile(cpu, .99) * 1000:.0f} "
                  f"| {statistics.mean(decodes):.1f}, {max(decodes)} |")


if __name__ == "__main__":
    main()
