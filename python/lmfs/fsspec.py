"""Compressed objects behind fsspec: pandas, Dask, PyArrow, DuckDB and others read and write them as if they were plain.

``lmfs::`` stands before any URL, such as ``lmfs::s3://bucket/key``. What is written is compressed with a fast zstd at
once. `lmfs pack-objects` makes it smaller later. What is read is decoded, and of that only the blocks that are needed.
Files that are not compressed are read as they are.
"""

from __future__ import annotations

import io
import sys
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterable

import fsspec
from fsspec.compression import register_compression
from fsspec.core import get_compression
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.memory import MemoryFile

from . import _core
from ._bucket import VERSION
from ._files import LmzReader, LmzWriter, Unfinished

#: Smaller files are not compressed: a container has a header, a table and a footer.
SMALLEST = 53
#: Bytes that are copied at a time.
PIECE = 8 << 20
#: What is written stays in memory up to so many compressed bytes.
SPOOL = 16 << 20
#: A file that is replaced while it is opened is opened so often.
ATTEMPTS = 10
#: Files whose sizes are remembered.
KNOWN = 100_000


class LmfsFileSystem(ChainedFileSystem):
    """Another filesystem, with its compressed files as what they contain.

    ``level`` and ``block_size`` are for what is written: a read decodes whole blocks. ``tail`` is how much of the end of
    a file is asked for to find its size. ``threads`` is 0 for all cores. ``cache_bytes`` is for each open file.
    ``sizes="stored"`` leaves the sizes in lists as they are, which saves a request for each file. ``model`` is the path
    of a model that is not built in.
    """

    protocol = "lmfs"
    cachable = True
    root_marker = ""

    def __init__(
        self,
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        fs: Any = None,
        fo: str | None = None,
        level: int = 1,
        block_size: int = 1 << 16,
        tail: int = 1 << 15,
        threads: int = 0,
        cache_bytes: int = 64 << 20,
        sizes: str = "content",
        model: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if fs is None:
            if target_protocol is None:
                raise ValueError("which filesystem? lmfs::s3://bucket/key names one, or target_protocol='s3' does")
            fs = fsspec.filesystem(target_protocol, **(target_options or {}))
        if sizes not in ("content", "stored"):
            raise ValueError(f"sizes={sizes!r} is neither 'content' nor 'stored'")
        self.fs = fs
        self.level, self.lmz_block_size, self.tail_bytes = level, block_size, tail
        self.threads, self.cache_bytes, self.sizes_of, self.model = threads, cache_bytes, sizes, model
        self._known: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

        def strip(path: Any) -> Any:
            if isinstance(path, list):
                return [strip(one) for one in path]
            return self.fs._strip_protocol(LmfsFileSystem._strip_protocol(path))

        # As each instance has another filesystem behind it.
        self._strip_protocol = strip

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        path = fsspec.utils.stringify_path(path)
        for prefix in ("lmfs://", "lmfs::"):
            if isinstance(path, str) and path.startswith(prefix):
                return path[len(prefix) :]
        return path

    @property
    def sep(self) -> str:
        return self.fs.sep

    # Sizes

    def _content_size(self, path: str, size: int, tail: bytes) -> int:
        """Bytes of content of a file of which the end is here. That of a damaged one is what is stored."""
        if not _core.Layout.ends(tail):
            return size
        try:
            known = _core.Layout.content_size(size, tail)
            if known is not None:
                return known
            with self.fs.open(path, "rb", cache_type="none") as file:
                return LmzReader(file).size
        except (_core.DamagedError, _core.NotAContainerError):
            return size

    def _sized(self, infos: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        infos = [dict(info) for info in infos]
        if self.sizes_of == "stored":
            return infos
        unknown = []
        for info in infos:
            if info["type"] != "file" or not info["size"] or info["size"] < SMALLEST:
                continue
            info["stored_size"] = info["size"]
            version = [info.get(key) for key in VERSION]
            with self._lock:
                known = self._known.get(info["name"])
            if known is not None and known[0] == version:
                info["size"] = known[1]
            else:
                unknown.append((info, version))
        if not unknown:
            return infos
        names = [info["name"] for info, _ in unknown]
        starts = [max(0, info["size"] - self.tail_bytes) for info, _ in unknown]
        ends = [info["size"] for info, _ in unknown]
        tails = self.fs.cat_ranges(names, starts, ends, on_error="return")
        gone = []
        for (info, version), tail in zip(unknown, tails):
            if isinstance(tail, FileNotFoundError):
                gone.append(info)
                continue
            if isinstance(tail, BaseException):
                raise tail
            info["size"] = self._content_size(info["name"], info["size"], bytes(tail))
            with self._lock:
                self._known[info["name"]] = (version, info["size"])
                while len(self._known) > KNOWN:
                    self._known.popitem(last=False)
        return [info for info in infos if not any(info is one for one in gone)]

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        path = self._strip_protocol(path)
        if not detail:
            return self.fs.ls(path, detail=False, **options)
        return self._sized(self.fs.ls(path, detail=True, **options))

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        found = self._sized([self.fs.info(self._strip_protocol(path), **options)])
        if not found:
            raise FileNotFoundError(path)
        return found[0]

    def find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kw: Any) -> Any:
        found = self.fs.find(self._strip_protocol(path), maxdepth=maxdepth, withdirs=withdirs, detail=True, **kw)
        if not detail:
            return sorted(found)
        return {info["name"]: info for info in self._sized(found.values())}

    def exists(self, path: str, **options: Any) -> bool:
        return self.fs.exists(self._strip_protocol(path), **options)

    # Reading

    def open(self, path: Any, mode: str = "rb", *args: Any, **options: Any) -> Any:
        if "r" in mode:
            return super().open(path, mode, *args, **options)
        compression = args[2] if len(args) > 2 else options.get("compression")
        if get_compression(str(path), compression) is not None:
            # Such a wrapper does not close what it wraps: nobody could tell whether the file is complete.
            raise NotImplementedError("what is written is compressed already: open it without compression")
        if "b" in mode:
            return super().open(path, mode, *args, **options)
        text = {key: options.pop(key) for key in ("encoding", "errors", "newline") if key in options}
        return _TextUpload(super().open(path, mode.replace("t", "") + "b", *args, **options), **text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        path = self._strip_protocol(path)
        if mode == "rb":
            return self._reader(path)
        if mode not in ("wb", "xb"):
            raise NotImplementedError(f"a compressed file cannot be opened with mode {mode!r}")
        if mode == "xb" and self.fs.exists(path):
            raise FileExistsError(path)
        return _Upload(self, path, mode, autocommit, block_size or self.lmz_block_size)

    def _reader(self, path: str) -> Any:
        for _ in range(ATTEMPTS):
            # Without a cache: blocks are cached decoded.
            raw = self._raw(path, cache_type="none")
            if _is_container(raw):
                return self._download(path, raw)
            raw.close()
            # With a cache, and by now it may have been packed.
            raw = self._raw(path)
            if not _is_container(raw):
                return raw
            raw.close()
        raise OSError(f"{path} is replaced again and again while it is opened")

    def _raw(self, path: str, **options: Any) -> Any:
        raw = self.fs.open(path, "rb", **options)
        # All who open a file in memory share one position.
        return io.BytesIO(raw.getvalue()) if isinstance(raw, MemoryFile) else raw

    def _download(self, path: str, raw: Any) -> Any:
        try:
            reader = _Download(raw, model=self.model, threads=self.threads, cache_bytes=self.cache_bytes, closes=True)
        except BaseException:
            raw.close()
            raise
        reader.fs, reader.path, reader.name = self, path, path
        return reader

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        with self.open(path, "rb") as file:
            return _slice(file, start, end)

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **options: Any,
    ) -> list[Any]:
        if not isinstance(starts, list):
            starts = [starts] * len(paths)
        if not isinstance(ends, list):
            ends = [ends] * len(paths)
        if not len(paths) == len(starts) == len(ends):
            raise ValueError("as many starts and ends as paths are needed")
        out: list[Any] = [None] * len(paths)
        numbers: dict[str, list[int]] = {}
        for number, path in enumerate(paths):
            numbers.setdefault(path, []).append(number)

        def read(path: str) -> None:
            # Each file is opened once, and no block between two ranges is decoded.
            try:
                with self.open(path, "rb") as file:
                    for number in numbers[path]:
                        out[number] = _slice(file, starts[number], ends[number])
            except Exception as error:
                for number in numbers[path]:
                    out[number] = error

        if len(numbers) == 1:
            read(paths[0])
        elif numbers:
            with ThreadPoolExecutor(min(8, len(numbers))) as pool:
                list(pool.map(read, numbers))
        if on_error == "raise":
            for one in out:
                if isinstance(one, Exception):
                    raise one
        return out

    def head(self, path: str, size: int = 1024) -> bytes:
        return self.cat_file(path, 0, size)

    def tail(self, path: str, size: int = 1024) -> bytes:
        return self.cat_file(path, -size)

    # Writing

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite", **options: Any) -> Any:
        value = bytes(value)
        encoder = _core.Encoder(self.level, self.lmz_block_size, self.model, self.threads)
        stored = encoder.feed(value) + encoder.finish()
        # Smaller as it is, and nothing that would be read as a container.
        if len(stored) >= len(value) and not _core.Layout.starts(value[:8]) and not _core.Layout.ends(value[-8:]):
            stored = value
        return self.fs.pipe_file(self._strip_protocol(path), stored, mode=mode, **options)

    # What does not look into files

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> Any:
        return self.fs.mkdir(self._strip_protocol(path), create_parents=create_parents, **options)

    def makedirs(self, path: str, exist_ok: bool = False) -> Any:
        return self.fs.makedirs(self._strip_protocol(path), exist_ok=exist_ok)

    def rmdir(self, path: str) -> Any:
        return self.fs.rmdir(self._strip_protocol(path))

    def rm_file(self, path: str) -> Any:
        return self.fs.rm_file(self._strip_protocol(path))

    def _rm(self, path: str) -> Any:
        return self.fs.rm_file(self._strip_protocol(path))

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> Any:
        return self.fs.rm(self._strip_protocol(path), recursive=recursive, maxdepth=maxdepth)

    def cp_file(self, path1: str, path2: str, **options: Any) -> Any:
        return self.fs.cp_file(self._strip_protocol(path1), self._strip_protocol(path2), **options)

    def created(self, path: str) -> Any:
        return self.fs.created(self._strip_protocol(path))

    def modified(self, path: str) -> Any:
        return self.fs.modified(self._strip_protocol(path))

    def ukey(self, path: str) -> str:
        return self.fs.ukey(self._strip_protocol(path))

    def checksum(self, path: str) -> Any:
        return self.fs.checksum(self._strip_protocol(path))

    def invalidate_cache(self, path: str | None = None) -> None:
        self.fs.invalidate_cache(None if path is None else self._strip_protocol(path))

    def sign(self, path: str, expiration: int = 100, **options: Any) -> str:
        raise NotImplementedError("a signed URL would serve the compressed bytes")


def _slice(file: Any, start: int | None, end: int | None) -> bytes:
    """Part of a file. Negative numbers count from its end."""
    size = file.size if isinstance(file, LmzReader) else file.seek(0, io.SEEK_END)
    first = 0 if start is None else max(0, size + start) if start < 0 else min(start, size)
    last = size if end is None else max(0, size + end) if end < 0 else min(end, size)
    if isinstance(file, LmzReader):
        return file.pread(first, max(0, last - first))
    file.seek(first)
    return file.read(max(0, last - first))


def _is_container(raw: Any) -> bool:
    """Whether a file is a container or was one. Its position is at the start then."""
    size = raw.seek(0, io.SEEK_END)
    raw.seek(max(0, size - 8))
    found = _core.Layout.ends(raw.read(8))
    raw.seek(0)
    if not found:
        found = _core.Layout.starts(raw.read(8))
        raw.seek(0)
    return found


class _Download(LmzReader):
    """A compressed file with what users of fsspec look for."""

    mode = "rb"
    fs: Any = None
    path = ""
    name = ""

    def info(self) -> dict[str, Any]:
        return self.fs.info(self.path)


def _stream(file: Any, mode: str = "rb", **options: Any) -> Any:
    """What fsspec calls for ``compression="lmfs"``."""
    if "r" not in mode:
        return LmzWriter(file, **{"level": 1, "block_size": 1 << 16, **options})
    if isinstance(file, LmzReader):
        # lmfs:: stands before the URL as well.
        return file
    if not getattr(file, "seekable", lambda: True)():
        spool = tempfile.SpooledTemporaryFile(max_size=SPOOL)
        while piece := file.read(PIECE):
            spool.write(piece)
        return LmzReader(spool, closes=True, **options)
    return LmzReader(file, **options)


# No extension stands for it, or what lmfs:: reads would be decompressed twice.
register_compression("lmfs", _stream, [], force=True)


class _TextUpload(io.TextIOWrapper):
    """Text that is compressed. The base class closes what it wraps even after an exception."""

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.buffer.discard()


class _Upload(Unfinished):
    """A compressed file that appears when it is complete."""

    _spool: Any = None
    _writer: LmzWriter | None = None

    def __init__(self, fs: LmfsFileSystem, path: str, mode: str, autocommit: bool, block_size: int) -> None:
        self._handled = sys.exc_info()[1]
        self.fs, self.path, self.mode, self.autocommit = fs, path, mode, autocommit
        #: Nothing will become of it.
        self._lost = False
        self._spool = tempfile.SpooledTemporaryFile(max_size=SPOOL)
        try:
            self._writer = LmzWriter(
                self._spool, level=fs.level, block_size=block_size, model=fs.model, threads=fs.threads
            )
        except BaseException:
            super().discard()
            raise

    def tell(self) -> int:
        return self._writer.tell()

    def write(self, data: Any) -> int:
        return self._writer.write(data)

    def _finish(self) -> None:
        try:
            self._writer.close()
        except BaseException:
            self._give_up()
            raise
        if self.autocommit:
            self.commit()

    def _give_up(self) -> None:
        self._lost = True
        if self._writer is not None:
            self._writer.discard()
        if self._spool is not None:
            self._spool.close()

    def commit(self) -> None:
        """Puts the file where it belongs, unless it was given up."""
        if self._lost:
            return
        if not self._writer.closed:
            # A transaction ends, and the file is still being written.
            raise ValueError(f"{self.path} was not closed")
        with self._spool as spool:
            spool.seek(0)
            if self.mode == "xb":
                self.fs.fs.pipe_file(self.path, spool.read(), mode="create")
                return
            with self.fs.fs.open(self.path, "wb") as out:
                while piece := spool.read(PIECE):
                    out.write(piece)

    def discard(self) -> None:
        """Forgets it, also when it is closed and waits for the end of a transaction."""
        self._give_up()
        super().discard()
