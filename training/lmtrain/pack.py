"""Packs the corpus into rows of tokens, each one a lane as the codec will see it.

A row is `<s>` and the first LENGTH tokens of a run of bytes that starts anywhere: mostly
at an arbitrary byte (inside a word, a number, a code point), sometimes at the start of a
file. Rows lie shuffled in shards of uint16 (below 60 MB each, so that they travel), with
one byte a row for its kind. Short rows are filled up with `<s>`, which is never a target.
"""

import json
import random
import zlib
from pathlib import Path

import numpy as np

from . import binary, synthetic
from . import corpus as corpora
from .tokenizer import BOS, ByteTokenizer

LENGTH = 1024
SHARD_ROWS = 28_000
FILE_START = 0.12  # share of rows that begin where a file begins
HELD_OUT = 0.02  # the tail of each source, for the validation rows
MADE = ("synthetic", "binary")  # kinds that come from no source


def pack(corpus, mix, tokenizer_path, tokens, folder):
    """Writes shards with about `tokens` tokens, and a validation shard, into `folder`."""
    tokenizer = ByteTokenizer(tokenizer_path)
    kinds = sorted(mix["kinds"])
    total = sum(mix["kinds"][kind]["weight"] for kind in kinds)
    listed = corpora.sources(corpus, mix)
    rows, labels, held, held_labels = [], [], [], []
    manifest = []
    for number, kind in enumerate(kinds):
        want = tokens / LENGTH * mix["kinds"][kind]["weight"] / total
        packer = _Packer(corpus, mix, tokenizer, kind)
        before = len(rows)
        found = [None] if kind in MADE else [s for s in listed if s.kind == kind and s.bytes]
        if not found:
            print(f"{kind:12s} left out: the corpus has nothing of this kind", flush=True)
        for source in found:
            count = max(1, round(want * (source.share if source else 1.0)))
            made, checked, used = packer.rows(source, count)
            rows.extend(made)
            held.extend(checked)
            held_labels.extend([number] * len(checked))
            manifest.append(_entry(kind, source, len(made), used))
        labels.extend([number] * (len(rows) - before))
        print(f"{kind:12s} {len(rows) - before:7d} rows", flush=True)
    order = np.random.default_rng(mix["seed"]).permutation(len(rows))
    table = np.stack(rows)[order]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.u16"), *folder.glob("*.u8"), *folder.glob("pack.json")]:
        old.unlink()
    for shard, start in enumerate(range(0, len(table), SHARD_ROWS)):
        table[start : start + SHARD_ROWS].tofile(folder / f"train-{shard:02d}.u16")
    np.asarray(labels, np.uint8)[order].tofile(folder / "train-kinds.u8")
    np.stack(held).tofile(folder / "valid.u16")
    np.asarray(held_labels, np.uint8).tofile(folder / "valid-kinds.u8")
    summary = {"length": LENGTH, "kinds": kinds, "rows": len(table), "sources": manifest}
    (folder / "pack.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    print(f"{len(table)} rows, {int((table != BOS).sum())} tokens")


def _entry(kind, source, rows, used):
    name = source.name.replace("+", "/", 1) if source else "made by the pipeline"
    licence = source.licence if source else "MIT OR Apache-2.0"
    return {"kind": kind, "source": name, "licence": licence, "rows": rows, "bytes": used}


class _Packer:
    """Cuts, augments and tokenizes the rows of one kind."""

    def __init__(self, corpus, mix, tokenizer, kind):
        self.corpus, self.mix, self.tokenizer, self.kind = corpus, mix, tokenizer, kind
        self.augment = mix.get("augment", {})

    def rows(self, source, count):
        """`count` training rows, a few held-out rows, and the bytes the former cover."""
        name = source.name if source else "synthetic"
        rng = np.random.default_rng([self.mix["seed"], zlib.crc32(f"{self.kind}/{name}".encode())])
        checks = max(1, count // 100)
        if self.kind == "synthetic":
            pieces = _synthetic(rng, count + checks)
            return self._tokenize(rng, pieces[:count], pieces[count:])
        if self.kind == "binary":
            pieces = self._binary(rng, count + checks)
            return self._tokenize(rng, pieces[:count], pieces[count:])
        data, starts = corpora.read_source(self.corpus, source, self.mix["seed"])
        edge = int(len(data) * (1 - HELD_OUT))
        size = self._piece_size(data)
        pieces = [data[at : min(at + size, edge)] for at in _starts(rng, count, edge, size, starts)]
        checked = [data[at : at + size] for at in rng.integers(edge, max(edge + 1, len(data) - size), checks)]
        return self._tokenize(rng, [self._latin1(rng, piece) for piece in pieces], checked)

    def _piece_size(self, data):
        """Bytes that nearly always give LENGTH tokens in this source."""
        sample = [data[at : at + 2048] for at in range(0, len(data), max(1, len(data) // 48))][:48]
        spread = [len(piece) / max(1, len(ids)) for piece, ids in zip(sample, self.tokenizer.encode_many(sample))]
        return int(LENGTH * float(np.quantile(spread, 0.9)) * 1.1) + 64

    def _latin1(self, rng, piece):
        if self.kind != "other_lang" or rng.random() >= self.augment.get("latin1", 0):
            return piece
        try:
            return piece.decode("utf-8", errors="ignore").encode("latin-1")
        except UnicodeEncodeError:
            return piece

    def _binary(self, rng, count):
        text, starts = self._program_text(rng)
        starts = [*starts, len(text)]
        pieces = []
        for _ in range(count):
            pick = int(rng.integers(len(starts) - 1))
            made = binary.make(rng, 2 * LENGTH, text[starts[pick] : starts[pick + 1]])
            pieces.append(made[int(rng.integers(0, 64)) :])
        return pieces

    def _program_text(self, rng):
        """What is packed and compiled: source text, of the repository that mix.toml names if the corpus has it."""
        code = [s for s in corpora.sources(self.corpus, self.mix) if s.kind == "code" and s.bytes]
        named = [s for s in code if s.name == self.mix["kinds"]["binary"].get("text")]
        if code:
            return corpora.read_source(self.corpus, (named or code)[0], self.mix["seed"])
        pieces = _synthetic(rng, 8)
        sizes = np.cumsum([len(piece) for piece in pieces])
        return b"".join(pieces), [0, *map(int, sizes[:-1])]

    def _tokenize(self, rng, pieces, checked):
        rows, used = [], 0
        for start in range(0, len(pieces), 512):
            batch = pieces[start : start + 512]
            plain = rng.random(len(batch)) < self.augment.get("bytes_only", 0)
            coded = self.tokenizer.encode_many([b"" if skip else piece for piece, skip in zip(batch, plain)])
            for piece, ids, skip in zip(batch, coded, plain):
                if skip:
                    ids = [self.tokenizer.byte_token[byte] for byte in piece[:LENGTH]]
                ids = ids[:LENGTH]
                used += sum(len(self.tokenizer.token_bytes[token]) for token in ids)
                rows.append(_row(ids))
        return rows, [_row(ids[:LENGTH]) for ids in self.tokenizer.encode_many(checked)], used


def _row(ids):
    row = np.full(LENGTH + 1, BOS, np.uint16)
    row[1 : len(ids) + 1] = ids
    return row


def _starts(rng, count, edge, size, files):
    """Where rows begin: spread over the source without overlap while it lasts."""
    room = max(1, edge - size // 2)
    slots = max(1, edge // size)
    starts = []
    while len(starts) < count:  # one round is one epoch over the source
        offset = int(rng.integers(size))
        starts.extend((offset + int(slot) * size) % room for slot in rng.permutation(slots))
    starts = starts[:count]
    files = [at for at in files if at < room]
    for index in range(count):
        if files and rng.random() < FILE_START:
            starts[index] = files[int(rng.integers(len(files)))]
    return starts


def _synthetic(rng, count):
    pieces = []
    for _ in range(count):
        text = synthetic.make(random.Random(int(rng.integers(2**62))), 4 * LENGTH)
        pieces.append(text[int(rng.integers(0, 256)) :])
    return pieces
