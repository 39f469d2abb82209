"""Compression with a language model.

``compress`` and ``decompress`` work on bytes, ``open`` on files that can be read at any place. ``lmfs.fsspec`` puts
compressed objects behind pandas, Dask, PyArrow and DuckDB.

All coding runs without the interpreter's lock, on as many threads as there are cores, and ends at Ctrl-C.
"""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any, Callable, Iterable, Literal, overload

from . import _core
from ._core import DamagedError, MissingModelError, NotAContainerError, __version__
from ._files import LmzReader, LmzWriter

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ._pack import Report

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
    "pack",
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


def pack(
    where: Any,
    paths: str | Iterable[str] | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    *,
    level: int = 4,
    block_size: int | None = 1 << 16,
    model: str | None = None,
    exclusive: bool = False,
    containers_only: bool = False,
    dry_run: bool = False,
    piece: int = 8 << 20,
    largest: int = 4 << 30,
    tasks: int | None = None,
    again: float | None = None,
    retries: int = 4,
    progress: Callable[[str, str], Any] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Report:
    """Compress objects harder, on any executor, and swap those that have not changed meanwhile. Needs fsspec.

    ``where`` is a filesystem of fsspec with ``paths`` in it, or a URL. Folders stand for all that is below them. The
    ``executor`` is one of ``concurrent.futures``: threads, processes, ``Client.get_executor()`` of Dask, and others;
    by default a thread for each core of this machine. A function that makes one will do, too: then another one is
    made when processes are killed and it breaks. Workers need lmfs and access to the objects.

    Workers read pieces of ``piece`` bytes of content and code them. Here they are joined, checked, and written on the
    condition that the object still is what was read. So a worker that is killed, late or does something twice costs
    time and nothing else. A piece that is not back after ``again`` seconds is given to another worker, too. One that
    fails is tried again ``retries`` times. ``tasks`` are given out at a time, by default four for each worker.

    S3 has conditional writes, which are raced once before anything is written. For other filesystems, ``exclusive``
    promises that nobody else writes meanwhile. ``containers_only`` leaves out what is not compressed yet, for readers
    without lmfs. Objects of more than ``largest`` stored bytes are left out, and no more than that are packed at the
    same time. ``progress`` is called with each path and what came of it.
    """
    import fsspec

    from . import _pack
    from ._bucket import bucket_of, probe

    if isinstance(where, (str, os.PathLike)):
        fs, root = fsspec.core.url_to_fs(os.fspath(where), **(storage_options or {}))
        wanted = [root] if paths is None else paths
    elif paths is None:
        raise ValueError("which paths? A filesystem is packed with paths, or give a URL")
    else:
        fs, wanted = where, paths
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    if fs.protocol == "lmfs":
        wanted = [fs._strip_protocol(path) for path in wanted]
        fs = fs.fs
    wanted = [fs._strip_protocol(path) for path in wanted]
    bucket = bucket_of(fs, exclusive)
    settings = _pack.new_settings(
        level, block_size, model, piece, containers_only=containers_only, dry_run=dry_run
    )
    if bucket.conditional and not exclusive and not dry_run and wanted:
        probe(bucket, fs._parent(wanted[0]))
    run = _pack.Run(
        bucket, settings, executor, largest=largest, tasks=tasks, again=again, retries=retries, progress=progress
    )
    return run.run(_pack.objects(bucket, wanted))
