"""Compression with a language model.

``compress`` and ``decompress`` work on bytes, ``open`` on files that can be read at any place. ``lmfs.fsspec`` puts
compressed objects behind pandas, Dask, PyArrow and DuckDB.

All coding runs without the interpreter's lock, on as many threads as there are cores, and ends at Ctrl-C.
"""

from __future__ import annotations

import io
import os
from typing import IO, Any, Literal, overload

from . import _core
from ._core import DamagedError, MissingModelError, NotAContainerError, __version__
from ._files import LmzReader, LmzWriter

__all__ = [
    "DamagedError",
    "LmzReader",
    "LmzWriter",
    "MissingModelError",
    "NotAContainerError",
    "__version__",
    "compress",
    "decompress",
    "info",
    "open",
]

Buffer = bytes | bytearray | memoryview


def compress(
    data: Buffer, *, level: int = 6, block_size: int | None = None, model: str | None = None, threads: int = 0
) -> bytes:
    """Compress bytes into one container.

    ``level`` is 1 (fast) to 9 (small). ``block_size`` is what a read at random decodes, 4096 to 1048576, by default the
    level's. ``model`` is ``"none"``, ``"builtin:NAME"`` or the path of a GGUF file, by default the level's. ``threads``
    is 0 for all cores.
    """
    encoder = _core.Encoder(level, block_size, model, threads)
    return encoder.feed(bytes(data)) + encoder.finish()


def decompress(data: Buffer, *, model: str | None = None, threads: int = 0) -> bytes:
    """Decompress one container, or several in a row. ``model`` is needed only for one that is not built in."""
    return _core.decompress(bytes(data), model, threads)


@overload
def open(file: str | os.PathLike[str] | IO[bytes], mode: Literal["r", "rb"] = "rb", **options: Any) -> LmzReader: ...
@overload
def open(file: str | os.PathLike[str] | IO[bytes], mode: Literal["w", "wb", "x", "xb"], **options: Any) -> LmzWriter: ...
def open(file: Any, mode: str = "rb", **options: Any) -> LmzReader | LmzWriter:
    """Open a compressed file: a path, or a binary file object (one that can seek, to read).

    ``"rb"`` takes ``model``, ``threads`` and ``cache_bytes``. ``"wb"`` and ``"xb"`` take ``level``, ``block_size``,
    ``model`` and ``threads``. Wrap the result in :class:`io.TextIOWrapper` to read text.
    """
    mode = mode.replace("b", "")
    if mode not in ("r", "w", "x"):
        raise ValueError(f"mode {mode!r} is not rb, wb or xb")
    closes = isinstance(file, (str, os.PathLike))
    raw = io.open(file, mode + "b") if closes else file
    try:
        return (LmzReader if mode == "r" else LmzWriter)(raw, closes=closes, **options)
    except BaseException:
        if closes:
            raw.close()
        raise


def info(file: str | os.PathLike[str] | IO[bytes]) -> dict[str, int]:
    """Size, stored size, and CRC-32 of the content of a compressed file. Decodes nothing."""
    with open(file) as reader:
        return {"size": reader.size, "stored_size": reader.stored_size, "crc32": reader.crc32}
