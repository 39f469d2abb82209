"""The training corpus as byte streams, one per source.

The corpus is a folder with MANIFEST.tsv (kind, repository, licence, bytes, files) and
KIND/REPOSITORY/... files, the repository's slash written as a plus sign. A source is one
repository of one kind. Its files are joined in a fixed shuffled order, so that rows may
run from one small file into the next, as they do in archives.
"""

import csv
import random
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One repository of one kind, with its licence and its share of the kind."""

    kind: str
    name: str
    licence: str
    bytes: int
    share: float


def read_mix(path):
    """Reads mix.toml: kinds, weights, caps, boosts and augmentation shares."""
    with open(path, "rb") as file:
        return tomllib.load(file)


def sources(corpus, mix):
    """Lists the sources of `corpus` that `mix` names, with shares summing to 1 per kind."""
    found = {}
    with open(Path(corpus) / "MANIFEST.tsv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            kind, name = row["kind"], row["repo"].replace("/", "+")
            if kind not in mix["kinds"]:
                continue
            size, licences = found.setdefault((kind, name), (0, []))
            found[kind, name] = (size + int(row["bytes"]), licences + [row["licence"]])
    weights = {}
    for (kind, name), (size, _) in found.items():
        settings = mix["kinds"][kind]
        capped = min(size, settings.get("cap", 1e9) * 1e6)
        weights[kind, name] = capped * settings.get("boost", {}).get(name, 1.0)
    totals = {}
    for (kind, _), weight in weights.items():
        totals[kind] = totals.get(kind, 0.0) + weight
    return [
        Source(kind, name, "; ".join(licences), size, weights[kind, name] / totals[kind])
        for (kind, name), (size, licences) in found.items()
    ]


def read_source(corpus, source, seed, limit=None):
    """Joins the files of `source` in a shuffled order, up to `limit` bytes.

    Returns the bytes and the offsets at which files start.

    With a limit, each file gives at most a quarter of it, so that one huge file does not
    stand for the whole source.
    """
    folder = Path(corpus) / source.kind / source.name
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    rng = random.Random(f"{seed}/{source.kind}/{source.name}")
    rng.shuffle(paths)
    parts, starts, total = [], [], 0
    for path in paths:
        data = path.read_bytes()
        if limit is not None:
            room = min(limit - total, max(limit // 4, 1 << 20))
            if room <= 0:
                break
            if len(data) > room:
                start = rng.randrange(len(data) - room + 1)
                data = data[start : start + room]
        parts.append(data)
        starts.append(total)
        total += len(data)
    return b"".join(parts), starts
