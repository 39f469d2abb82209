"""Is evaluation text in the training text? Counts shared runs of 13 words.

A word is a run of ASCII letters and digits or of bytes above 127, in lower case. Runs of
13 are compared by 64-bit hashes, so a text of 600 MB needs about a minute and no index.
Thirteen words are what Brown et al. 2020 (arXiv 2005.14165, appendix C) used.
"""

from pathlib import Path

import numpy as np

GRAM = 13
BASE, MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
CHUNK = 4 << 20

_FOLD = np.zeros(256, np.uint64)  # 0: not part of a word
for _byte in range(256):
    if chr(_byte).isalnum() and _byte < 128 or _byte >= 128:
        _FOLD[_byte] = ord(chr(_byte).lower()) + 1 if _byte < 128 else _byte + 1


def grams(data):
    """Hashes (uint64) of all runs of GRAM words of `data`."""
    letters = _FOLD[np.frombuffer(data, np.uint8)]
    inside = letters > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], inside, [False])).view(np.int8)))
    starts, stops = edges[0::2], edges[1::2]
    if len(starts) < GRAM:
        return np.empty(0, np.uint64)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(len(letters), BASE))  # modulo 2^64, BASE is odd
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(letters * powers)))
        inverse = np.uint64(pow(int(BASE), -1, 1 << 64))
        unpowers = np.cumprod(np.full(len(letters), inverse))
        words = (sums[stops] - sums[starts]) * unpowers[starts]
        words ^= words >> np.uint64(29)
        words *= MIX
        count = len(words) - GRAM + 1
        result = np.zeros(count, np.uint64)
        for place in range(GRAM):
            result = (result * BASE) ^ (words[place : place + count] + np.uint64(place))
    return result


def check(corpus, folder, names, report=print):
    """Prints, per evaluation file, the share of its runs that occur in the corpus.

    Returns {name: (found, runs)}; runs are counted once each.
    """
    wanted = {}
    for name in names:
        path = Path(folder) / name
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        parts = [grams(file.read_bytes()) for file in files]
        wanted[name] = np.unique(np.concatenate(parts))
    every = np.unique(np.concatenate(list(wanted.values())))
    seen = np.zeros(len(every), bool)
    for data in _text(corpus):
        made = grams(data)
        place = np.minimum(np.searchsorted(every, made), len(every) - 1)
        seen[place[every[place] == made]] = True
    known = every[seen]
    result = {}
    for name, hashes in wanted.items():
        found = int(np.isin(hashes, known).sum())
        result[name] = (found, len(hashes))
        report(f"{name:28s} {found:7d} of {len(hashes):8d} runs of {GRAM} words ({found / max(1, len(hashes)):.3%})")
    return result


def _text(corpus):
    """All files of the corpus, joined to chunks of a few megabytes."""
    parts, size = [], 0
    for path in sorted(p for p in Path(corpus).rglob("*") if p.is_file() and p.name != "MANIFEST.tsv"):
        data = path.read_bytes()
        for at in range(0, len(data), CHUNK):
            parts.append(data[at : at + CHUNK + 512])
            size += len(parts[-1])
            if size >= CHUNK:
                yield b"\n".join(parts)
                parts, size = [], 0
    yield b"\n".join(parts)
