"""What is done elsewhere: a worker reads a piece of an object, and codes it."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from . import _core
from ._bucket import Bucket
from ._files import Blocks, find

#: The first read of an object: its end, where a container has its table.
TAIL = 1 << 15
#: Runs whose models are kept.
PACKERS = 4


@dataclass(frozen=True)
class Settings:
    """How objects are packed. All workers have the same."""

    level: int
    block_size: int | None
    model: str | None
    piece: int
    containers_only: bool
    dry_run: bool
    #: Which call of ``pack``, and which lmfs: another one may code otherwise.
    run: str
    lmfs: str


@dataclass(frozen=True)
class Object:
    """A version of an object."""

    bucket: Bucket
    path: str
    version: Any
    #: Bytes that are stored.
    size: int


@dataclass(frozen=True)
class Plan:
    """What an object is."""

    #: Bytes of content, and its CRC-32 if it is a container.
    length: int
    crc32: int | None
    #: A container has to be smaller to take its place.
    limit: int


@dataclass(frozen=True)
class Piece:
    """A coded piece of content."""

    blocks: bytes
    #: CRC-32 of the blocks.
    sum: int


_packers: OrderedDict[Settings, _core.Packer] = OrderedDict()
_packers_lock = threading.Lock()


def packer_of(settings: Settings) -> _core.Packer:
    """Loads the model once in each process for each run."""
    with _packers_lock:
        packer = _packers.get(settings)
        if packer is None:
            packer = _packers[settings] = _core.Packer(settings.level, settings.block_size, settings.model)
            # Each may hold a model, and nobody tells a worker that a run has ended.
            while len(_packers) > PACKERS:
                _packers.popitem(last=False)
    return packer


def forget_packer(settings: Settings) -> None:
    """The run has ended."""
    with _packers_lock:
        _packers.pop(settings, None)


class Content:
    """The content of a version of an object."""

    def __init__(self, what: Object, settings: Settings) -> None:
        self.what = what
        self.layout: _core.Layout | None = None
        start = max(0, what.size - TAIL)
        self._tail = (start, what.bucket.read(what.path, what.version, start, what.size))
        if _core.Layout.ends(self._tail[1][-8:]):
            self.layout = find(what.size, self.fetch, settings.model, 1)
        elif _core.Layout.starts(self.fetch(0, min(8, what.size))):
            raise _core.DamagedError(f"{what.path}: a damaged container: its end is missing")
        self.length = what.size if self.layout is None else self.layout.size

    def fetch(self, start: int, end: int) -> bytes:
        """Stored bytes."""
        at, tail = self._tail
        if start >= at:
            return tail[start - at : end - at]
        return self.what.bucket.read(self.what.path, self.what.version, start, end)

    def read(self, start: int, end: int) -> bytes:
        if self.layout is None:
            return self.fetch(start, end)
        return Blocks(self.layout, self.fetch, 0).read(start, end)

    def is_packed(self, packer: _core.Packer) -> bool:
        if self.layout is None:
            return self.length == 0
        packed, asked = packer.is_packed(self.layout)
        if asked is not None:
            packed = packer.is_packed_block(self.layout, self.fetch(*asked))
        return bool(packed)


def _coded(content: Content, packer: _core.Packer, start: int, end: int) -> Piece:
    blocks = packer.encode(content.read(start, end))
    return Piece(blocks, zlib.crc32(blocks))


def _packer(settings: Settings) -> _core.Packer:
    if settings.lmfs != _core.__version__:
        raise RuntimeError(f"a worker has lmfs {_core.__version__}, and what started it has {settings.lmfs}")
    return packer_of(settings)


def look(what: Object, settings: Settings) -> str | tuple[Plan, Piece | None]:
    """Whether an object is to be packed, and its first piece if that is all of it; or why it is not."""
    packer = _packer(settings)
    content = Content(what, settings)
    if settings.containers_only and content.layout is None:
        return "no container"
    if content.is_packed(packer):
        return "already"
    crc32 = None if content.layout is None else content.layout.crc32
    plan = Plan(content.length, crc32, packer.limit(content.layout, what.size))
    whole = content.length <= settings.piece and not settings.dry_run
    return plan, _coded(content, packer, 0, content.length) if whole else None


def code(what: Object, settings: Settings, start: int, end: int) -> Piece:
    """Codes a piece of content."""
    return _coded(Content(what, settings), _packer(settings), start, end)
