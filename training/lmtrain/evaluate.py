"""Bits per byte as the codec uses a model: blocks of 64 KiB cut into cold lanes.

Every lane starts with `<s>` and knows nothing of the others; the model alone predicts,
no adaptive mixing. What is counted is the entropy of the lane's own tokens, so real files
are larger by the coder's and the header's overhead, well below a percent.
"""

import json
import math
from pathlib import Path

import torch

from .tokenizer import of_model, utf8_runs

BLOCK = 64 * 1024
LANES = 16

# Held-out files by kind; a folder stands for its larger text files, joined.
KINDS = {
    "prose": [
        "canterbury/alice29.txt",
        "canterbury/asyoulik.txt",
        "canterbury/lcet10.txt",
        "canterbury/plrabn12.txt",
        "large/bible.txt",
        "large/world192.txt",
    ],
    "wiki": ["wikitext2/valid.txt"],
    "code": ["code/flask_py", "code/leveldb_cpp", "canterbury/fields.c", "canterbury/grammar.lsp"],
    "markup": ["canterbury/cp.html", "canterbury/xargs.1"],
    "logs": ["logs/Apache_2k.log", "logs/BGL_2k.log", "logs/HDFS_2k.log", "logs/OpenSSH_2k.log"],
    "json": [
        "json/apache_builds.json",
        "json/canada.json",
        "json/github_events.json",
        "json/gsoc-2018.json",
        "json/twitter.json",
    ],
    "csv": ["csv/airports.csv", "csv/species.csv", "csv/weather.csv", "csv/zipcodes.csv"],
    "subtitles en": ["subtitles/en.txt"],
    "subtitles ru": ["subtitles/ru.txt"],
    "subtitles zh": ["subtitles/zh.txt"],
    "binary": ["canterbury/kennedy.xls", "canterbury/ptt5", "canterbury/sum", "speech/spk1_snt1.wav", "large/E.coli.1M"],
}

CURVE = ["canterbury/lcet10.txt", "large/world192.txt", "wikitext2/valid.txt", "logs/OpenSSH_2k.log", "json/gsoc-2018.json"]


def read(path, limit):
    """The first `limit` bytes of a file, or of the joined files of a folder."""
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.stat().st_size > 2000)
        return b"".join(p.read_bytes() for p in files[:: max(1, len(files) // 24)])[:limit]
    return path.read_bytes()[:limit]


def encoder(model):
    """A function from bytes to token ids, made from the model's own vocabulary."""
    bpe = of_model(model)
    single = {piece[0]: token for token, piece in enumerate(model.token_bytes) if len(piece) == 1}

    def encode(data):
        ids = []
        for valid, run in utf8_runs(data):
            ids.extend(bpe.encode(run, add_special_tokens=False).ids if valid else [single[byte] for byte in run])
        if b"".join(model.token_bytes[token] for token in ids) != data:
            raise ValueError("the tokens do not spell the data")
        return ids

    return encode


def lane_bits(model, encode, block, lanes=LANES):
    """Bits of each token and bytes of each token, per lane, of one block."""
    size = math.ceil(len(block) / lanes)
    cuts = [block[at : at + size] for at in range(0, len(block), size)]
    coded = [encode(cut) for cut in cuts]
    longest = max(map(len, coded))
    tokens = torch.zeros(len(coded), longest, dtype=torch.long)
    for row, ids in enumerate(coded):
        tokens[row, 1 : len(ids)] = torch.tensor(ids[:-1])
    result = []
    for first in range(0, len(coded), 4):  # a few lanes at a time keeps memory small
        logits = model.logits(tokens[first : first + 4]).float()
        for offset, ids in enumerate(coded[first : first + 4]):
            target = torch.tensor(ids)
            loss = torch.nn.functional.cross_entropy(logits[offset, : len(ids)], target, reduction="none")
            sizes = torch.tensor([len(model.token_bytes[token]) for token in ids])
            result.append((loss / math.log(2), sizes))
    return result


def evaluate(model, folder, limit=BLOCK, kinds=KINDS, progress=lambda line: None):
    """Bits a byte of each held-out file (its first `limit` bytes): {kind: {file: bits}}."""
    encode = encoder(model)
    table = {}
    for kind, names in kinds.items():
        for name in names:
            data = read(Path(folder) / name, limit)
            bits = size = count = 0
            for at in range(0, len(data), BLOCK):
                for lane, sizes in lane_bits(model, encode, data[at : at + BLOCK]):
                    bits, size, count = bits + float(lane.sum()), size + int(sizes.sum()), count + len(sizes)
            table.setdefault(kind, {})[name] = bits / size
            progress(f"{kind:13s} {name:28s} {bits / size:.4f} bits/byte, {size / count:.2f} bytes/token")
    return table


def means(table):
    """The mean of each kind, every file weighing the same."""
    return {kind: sum(files.values()) / len(files) for kind, files in table.items()}


def curve(model, folder, names, lanes=4, width=512):
    """Bits a byte by position in lanes of 16 KiB, in steps of `width` bytes, over `names`."""
    encode = encoder(model)
    bits, sizes = {}, {}
    for name in names:
        data = read(Path(folder) / name, BLOCK)
        for lane, size in lane_bits(model, encode, data, lanes):
            ends = torch.cumsum(size, 0)
            for slot, cost, count in zip(((ends - 1) // width).tolist(), lane.tolist(), size.tolist()):
                bits[slot] = bits.get(slot, 0.0) + cost
                sizes[slot] = sizes.get(slot, 0) + count
    return [(slot * width, bits[slot] / sizes[slot]) for slot in sorted(bits) if sizes[slot] > width]


def report(arguments):
    """The command `evaluate`: prints tables, and writes them as JSON when asked to."""
    from .gguf_model import GgufModel

    model = GgufModel(arguments.model, arguments.eight_bits)
    if arguments.curve:
        for start, bits in curve(model, arguments.eval, CURVE):
            print(f"bytes {start:6d} to {start + 512:6d} of the lane: {bits:.4f} bits/byte")
        return
    table = evaluate(model, arguments.eval, arguments.limit, progress=print)
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1), encoding="utf-8")
    other = {}
    if arguments.against:
        other = means(evaluate(GgufModel(arguments.against), arguments.eval, arguments.limit))
    for kind, bits in means(table).items():
        change = f"  against {other[kind]:.4f}: {bits / other[kind] - 1:+.1%}" if other else ""
        print(f"{kind:13s} {bits:.4f}{change}")
