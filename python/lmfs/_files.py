"""Compressed files as file objects."""

from __future__ import annotations

import io
import os
import sys
import threading
import warnings
from collections import OrderedDict
from typing import IO, Any, Callable, Iterable

from . import _core

#: Stored bytes that are read at a time, and the most content of them.
PIECE = 8 << 20
CONTENT = 256 << 20
#: More blocks than these are not kept: who reads so much at once goes on behind it.
KEEP = 4
#: Stored bytes that are read ahead for who reads on in short pieces: so many at first, twice as many each time.
AHEAD = 256 << 10
MOST_AHEAD = 4 << 20


def find(size: int, fetch: Callable[[int, int], bytes], model: str | None, threads: int) -> _core.Layout:
    """Reads where everything is in a file of ``size`` bytes. ``fetch(start, end)`` reads them."""
    layout = _core.Layout(size, model, threads)
    pieces: list[tuple[int, bytes]] = []
    while (want := layout.want()) is not None:
        start, end = want
        for at, piece in pieces:
            if at <= start and end <= at + len(piece):
                break
        else:
            # A table as a whole, and else what is before: it is wanted next.
            table = layout.table()
            at, stop = (start, min(table[1], start + PIECE)) if table else (max(0, min(start, end - 32768)), max(end, 64))
            stop = min(stop, size)
            piece = fetch(at, stop)
            if len(piece) != stop - at:
                raise _core.DamagedError(f"the file ends {stop - at - len(piece)} bytes early")
            pieces.append((at, piece))
        layout.feed(piece[start - at : end - at])
    return layout


class Blocks:
    """Content by range: decodes the blocks that are needed, and keeps some."""

    def __init__(
        self, layout: _core.Layout, fetch: Callable[[int, int], bytes], cache_bytes: int, threads: int = 1
    ) -> None:
        self.layout = layout
        self.size = layout.size
        self._fetch = fetch
        #: Blocks that are decoded ahead, with one for who waits.
        self._together = threads or os.cpu_count() or 1
        #: What was read ahead: from where on, and the stored bytes.
        self._ahead: tuple[int, bytes] = (0, b"")
        self._window = 0
        #: Where somebody is who reads on.
        self._next = -1
        self._limit = cache_bytes
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, start: int, end: int) -> bytes:
        """The content from ``start`` to ``end``, which are in it."""
        parts = []
        while start < end:
            first, length, _, _ = self.layout.block(start)
            block = self._get(first)
            if block is None and end > first + KEEP * length:
                # Into one place, whatever is read at a time: joining would touch all memory once more.
                stop = end
                part = self._decode(start, stop)
            else:
                if block is None:
                    block = self._load(first, length)
                stop = min(end, first + length)
                part = block[start - first : stop - first]
            parts.append(part)
            start = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _load(self, first: int, length: int) -> bytes:
        """Decodes a block, with those that follow if somebody reads on."""
        _, _, begin, stop = self.layout.block(first)
        with self._lock:
            goes_on = first == self._next
            at, data = self._ahead
            here = at <= begin and stop <= at + len(data)
            if not goes_on:
                self._window = 0
            elif not here:
                self._window = min(max(AHEAD, 2 * self._window), MOST_AHEAD)
            window = self._window
        if not here:
            end = first + length
            span = window * length // (stop - begin) if goes_on else 0
            while span > length:
                # Whole blocks, which may be less compressible than this one.
                last, more, _, stored = self.layout.block(min(self.size, first + span) - 1)
                if stored - begin <= 2 * window:
                    end = last + more
                    break
                span //= 2
            at, data = begin, self._read(first, end)
        ends = [first + length]
        # No more than is kept, or it would be decoded again.
        together = min(self._together, max(1, self._limit // length))
        while goes_on and len(ends) < together and ends[-1] < self.size:
            following, more, _, stop = self.layout.block(ends[-1])
            if stop > at + len(data) or self._get(following) is not None:
                break
            ends.append(following + more)
        try:
            decoded = self._decoded(first, ends[-1], [(at, data)])
        except (OSError, ValueError):
            if len(ends) == 1:
                raise
            # What is damaged is told to who reads that.
            del ends[1:]
            decoded = self._decoded(first, ends[-1], [(at, data)])
        with self._lock:
            self._next = ends[-1]
            # What nobody will ask for any more is let go.
            self._ahead = (at, data) if stop < at + len(data) else (0, b"")
        start = first
        for end in ends:
            self._keep(start, decoded[start - first : end - first])
            start = end
        return decoded[:length]

    def _piece(self, start: int, end: int, length: int) -> int:
        """The end of about as many blocks as are read at a time."""
        stored = self.layout.stored(start, end)
        if stored[1] - stored[0] <= PIECE and end - start <= CONTENT:
            return end
        first, length, begin, stop = self.layout.block(start)
        count = max(1, min(CONTENT // length, PIECE // (stop - begin)))
        first, length, _, _ = self.layout.block(min(end - 1, first + (count - 1) * length))
        return min(end, first + length)

    def _decode(self, start: int, end: int) -> bytes:
        stretches = []
        at = start
        while at < end:
            _, length, _, _ = self.layout.block(at)
            to = self._piece(at, end, length)
            stretches.append((self.layout.stored(at, to)[0], self._read(at, to)))
            at = to
        return self._decoded(start, end, stretches)

    def _decoded(self, start: int, end: int, stretches: list[tuple[int, bytes]]) -> bytes:
        """Content of which this is stored. What it is coded behind is read where nothing knows it."""
        fronts: list[tuple[int, bytes]] = []
        while True:
            decoded = self.layout.decode(start, end, stretches, fronts)
            if isinstance(decoded, bytes):
                return decoded
            # More than once only if others made the program forget something in between.
            fronts = sorted(fronts + [(begin, self._stored(begin, stop)) for begin, stop in decoded])

    def _read(self, start: int, end: int) -> bytes:
        """What is stored for this content."""
        return self._stored(*self.layout.stored(start, end))

    def _stored(self, begin: int, stop: int) -> bytes:
        data = self._fetch(begin, stop)
        if len(data) != stop - begin:
            raise _core.DamagedError(f"the file ends {stop - begin - len(data)} bytes early")
        return data

    def _get(self, first: int) -> bytes | None:
        with self._lock:
            block = self._kept.get(first)
            if block is not None:
                self._kept.move_to_end(first)
            return block

    def _keep(self, first: int, block: bytes) -> None:
        with self._lock:
            self._bytes += len(block) - len(self._kept.pop(first, b""))
            self._kept[first] = block
            while self._bytes > self._limit and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone)


class LmzReader(io.RawIOBase):
    """A compressed file that is read as what it contains. Several threads may use :meth:`pread` at once."""

    def __init__(
        self,
        file: IO[bytes],
        *,
        model: str | None = None,
        threads: int = 0,
        cache_bytes: int = 64 << 20,
        closes: bool = False,
    ) -> None:
        self._file = file
        self._closes = closes
        self._seeking = threading.Lock()
        self._position = 0
        #: Bytes of the compressed file.
        self.stored_size = file.seek(0, io.SEEK_END)
        self._blocks = Blocks(find(self.stored_size, self._fetch, model, threads), self._fetch, cache_bytes, threads)
        #: Bytes of content.
        self.size: int = self._blocks.size
        #: CRC-32 of the content, as the file says.
        self.crc32: int = self._blocks.layout.crc32

    def _fetch(self, start: int, end: int) -> bytes:
        with self._seeking:
            self._file.seek(start)
            parts = []
            while start < end:
                part = self._file.read(end - start)
                if not part:
                    break
                parts.append(part)
                start += len(part)
        return b"".join(parts)

    def pread(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset`` on. The position stays where it is."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if offset < 0 or length < 0:
            raise ValueError("offset and length are not negative")
        return self._blocks.read(min(offset, self.size), min(offset + length, self.size))

    def read_ranges(self, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
        """``pread`` of several (offset, length). Only blocks with these bytes are decoded."""
        return [self.pread(offset, length) for offset, length in ranges]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"cannot seek to {offset} from {whence}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        length = self.size if size is None or size < 0 else size
        data = self.pread(self._position, length)
        self._position += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1) -> bytes:
        """The next line. Lines are looked for in the block that is kept."""
        limit = self.size if size is None or size < 0 else size
        parts = []
        while limit > 0:
            part = self.read(min(8192, limit))
            end = part.find(b"\n") + 1
            if end:
                self._position -= len(part) - end
                part = part[:end]
            parts.append(part)
            limit -= len(part)
            if end or not part:
                break
        return b"".join(parts)

    def close(self) -> None:
        if not self.closed and self._closes:
            self._file.close()
        super().close()


class Unfinished(io.RawIOBase):
    """A file that is written. It is complete only if it is closed, and not because something went wrong."""

    #: Whoever wrapped it was collected without being closed.
    _dropped = False
    #: What was being handled already when the file was opened.
    _handled: BaseException | None = None

    def writable(self) -> bool:
        return True

    def _finish(self) -> None:
        raise NotImplementedError

    def _give_up(self) -> None:
        raise NotImplementedError

    def discard(self) -> None:
        """Forgets what was written. The file stays incomplete, or what it was before."""
        if not self.closed:
            try:
                self._give_up()
            finally:
                self._handled = None
                super().close()

    def close(self) -> None:
        """Completes the file, unless an exception is being handled that came after it was opened."""
        if self.closed:
            return
        # Wrappers close what they wrap whether they failed or not, so this is all that tells.
        now = sys.exc_info()[1]
        if self._dropped or (now is not None and now is not self._handled):
            self.discard()
            self._warn("was not closed" if self._dropped else f"was closed while {now!r} was handled")
            return
        try:
            self._finish()
        finally:
            self._handled = None
            super().close()

    def _warn(self, why: str) -> None:
        warnings.warn(f"what was written is incomplete and given up: the file {why}", RuntimeWarning, stacklevel=3)

    def _dealloc_warn(self, source: Any) -> None:
        """What Python's wrappers call when they are collected, before they close what they wrap."""
        self._dropped = True

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # That of the base class would close it.
        if not self.closed:
            self.discard()
            self._warn("was not closed")


class LmzWriter(Unfinished):
    """A compressed file that is written. It is complete once it is closed without an exception."""

    _file: Any = None
    _closes = False
    _encoder: _core.Encoder | None = None

    def __init__(
        self,
        file: IO[bytes],
        *,
        level: int = 6,
        block_size: int | None = None,
        model: str | None = None,
        threads: int = 0,
        closes: bool = False,
    ) -> None:
        self._handled = sys.exc_info()[1]
        self._position = 0
        self._file = file
        self._closes = closes
        try:
            self._encoder = _core.Encoder(level, block_size, model, threads)
        except BaseException:
            self.discard()
            raise

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        if self._encoder is None:
            raise ValueError("I/O operation on closed file")
        data = bytes(data)
        self._put(self._encoder.feed(data))
        self._position += len(data)
        return len(data)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _finish(self) -> None:
        try:
            if self._encoder is not None:
                encoder, self._encoder = self._encoder, None
                self._put(encoder.finish())
                self._file.flush()
        finally:
            self._give_up()

    def _give_up(self) -> None:
        # Without its table the file counts as cut short, which it is.
        self._encoder = None
        if self._closes:
            self._file.close()
