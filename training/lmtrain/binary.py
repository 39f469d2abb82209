"""Binary data made by the pipeline: sound, bitmaps, tables of numbers, packed data.

The models are for text, and binary blocks are meant to be routed past them. These rows
only teach them to notice odd data and to fall back to flat guesses without losing much.
"""

import marshal
import struct
import zlib

import numpy as np


def make(rng, size, text):
    """About `size` bytes of one kind of binary data.

    `rng` is a numpy Generator; `text` is some text of the corpus (bytes), which some kinds
    compress, compile or embed.
    """
    makers = (_pcm, _pcm, _bitmap, _bitmap, _numbers, _numbers, _records, _random, _packed, _bytecode, _fax)
    return makers[rng.integers(len(makers))](rng, size, text)[:size]


def _wave(rng, count):
    """A sum of wandering tones with an envelope and noise, within -1 to 1."""
    time = np.arange(count) / rng.choice([8000, 16000, 22050, 44100])
    total = rng.normal(0, 10 ** rng.uniform(-3, -1), count)
    for _ in range(rng.integers(1, 7)):
        drift = 1 + 0.02 * np.sin(2 * np.pi * rng.uniform(0.5, 5) * time)
        total += rng.uniform(0.05, 1) * np.sin(2 * np.pi * rng.uniform(60, 3000) * time * drift + rng.uniform(0, 6))
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 8) * time + rng.uniform(0, 6))
    total *= envelope * 10 ** rng.uniform(-2, 0)
    return total / max(1.0, float(np.abs(total).max()))


def _pcm(rng, size, _text):
    wave = _wave(rng, size)
    if rng.random() < 0.25:
        return (128 + 127 * wave).astype(np.uint8).tobytes()
    samples = (32767 * wave).astype("<i2")
    if rng.random() < 0.4:
        samples = np.repeat(samples, 2)
        samples[1::2] += rng.integers(-8, 9, len(samples) // 2).astype("<i2")
    return samples.tobytes()


def _bitmap(rng, size, _text):
    width, channels = int(rng.choice([64, 100, 256, 320, 640])), int(rng.choice([1, 3, 4]))
    height = size // (width * channels) + 1
    y, x = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, channels))
    for channel in range(channels):
        for _ in range(4):
            a, b, c = rng.normal(0, 0.06, 2).tolist() + [rng.uniform(0, 6)]
            image[:, :, channel] += rng.uniform(0, 40) * np.sin(a * x + b * y + c)
    image += rng.uniform(40, 200) + rng.normal(0, rng.choice([0, 0.5, 2, 6]), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8).tobytes()


def _numbers(rng, size, _text):
    kind = rng.choice(["<i2", "<i4", "<u4", "<i8", "<f4", "<f8", ">i4", ">i2"])
    count = size // np.dtype(kind).itemsize + 1
    walk = np.cumsum(rng.normal(0, 10 ** rng.uniform(-1, 3), count))
    if rng.random() < 0.3:
        walk = np.arange(count) * int(rng.integers(1, 100)) + rng.integers(0, 10**6)
    if kind[1] != "f":
        limit = 2 ** (8 * np.dtype(kind).itemsize - 2)
        walk = np.clip(np.round(walk), 0 if kind[1] == "u" else -limit, limit)
    return walk.astype(kind).tobytes()


def _records(rng, size, text):
    """Fixed-size records, as in a database page or a symbol table."""
    width = int(rng.integers(2, 12))
    number, flags = int(rng.integers(0, 10**6)), rng.integers(0, 256, 4)
    words = text[:4096].split()[:64] or [b"name"]
    out = bytearray()
    while len(out) < size:
        word = words[rng.integers(len(words))][: width * 2].ljust(width * 2, b"\0")
        out += struct.pack("<IHBB", number, int(rng.integers(0, 300)), int(flags[rng.integers(4)]), 0) + word
        number += int(rng.integers(1, 64))
    return bytes(out)


def _random(rng, size, _text):
    return rng.bytes(size)


def _packed(rng, size, text):
    return zlib.compress(text[: size * 6], int(rng.choice([1, 6, 9])))


def _bytecode(rng, size, text):
    """Compiled Python where the text compiles, tagged records where it does not."""
    try:
        return marshal.dumps(compile(text, "module.py", "exec"))
    except (SyntaxError, ValueError):
        return _records(rng, size, text)


def _fax(rng, size, _text):
    """A one-bit page: long runs of white with words of black."""
    width = int(rng.choice([864, 1728, 2480])) // 8
    rows, line = [], np.zeros(width, np.uint8)
    while len(rows) * width < size:
        if rng.random() < 0.15:
            line = np.zeros(width, np.uint8)
            for start in rng.integers(0, width, rng.integers(0, 30)):
                line[start : start + 2] = rng.integers(0, 256)
        rows.append(line.tobytes())
    return b"".join(rows)
