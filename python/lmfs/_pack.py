"""Packing over any executor: plan, code elsewhere, join here, and swap each object with one conditional write."""

from __future__ import annotations

import os
import time
import uuid
import zlib
from collections import deque
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Iterator

from . import _core
from ._bucket import Bucket, Changed
from ._files import find
from ._pushed import Pushed
from ._work import Object, Piece, Plan, Settings, code, forget_packer, look, packer_of

#: Threads that swap objects, which waits for the network.
SWAPS = 8
#: Trying again does not help.
FINAL = (_core.DamagedError, _core.MissingModelError, ValueError, PermissionError)


@dataclass
class Report:
    """What came of all objects."""

    #: Objects that were looked at.
    objects: int = 0
    #: Objects that take less now, or would.
    packed: int = 0
    #: Objects that were packed before.
    already: int = 0
    #: Objects that stay as they are: not smaller, too large, no containers.
    kept: int = 0
    #: Objects that were replaced or deleted meanwhile.
    changed: int = 0
    #: Stored bytes of the packed objects before.
    before: int = 0
    #: Stored bytes of the packed objects now.
    after: int = 0
    #: Objects that could not be read, coded or written, and why.
    errors: dict[str, BaseException] = field(default_factory=dict)


class _Packing:
    """An object that is being packed."""

    def __init__(self, what: Object) -> None:
        self.what = what
        self.plan: Plan | None = None
        self.pieces: list[Piece | None] = []
        #: What is being done for it.
        self.tasks: set[_Task] = set()
        #: Nothing more is to be done for it.
        self.over = False


class _Task:
    """Something for a worker to do, perhaps by several of them."""

    def __init__(self, packing: _Packing, number: int | None, call: tuple[Any, ...]) -> None:
        self.packing, self.number, self.call = packing, number, call
        self.tries = 0
        self.since = 0.0
        self.futures: set[Future[Any]] = set()


class Run:
    """One call of ``pack``."""

    def __init__(
        self,
        bucket: Bucket,
        settings: Settings,
        executor: Executor | Callable[[], Executor] | None,
        *,
        largest: int,
        tasks: int | None,
        again: float | None,
        retries: int,
        progress: Callable[[str, str], Any] | None,
    ) -> None:
        self.bucket, self.settings, self.report = bucket, settings, Report()
        self.packer = packer_of(settings)
        self._make = executor if not isinstance(executor, Executor) else None
        self._own = not isinstance(executor, Executor)
        if executor is None:
            self._make = lambda: ThreadPoolExecutor(os.cpu_count(), "lmfs-pack")
        self._local = executor is None
        self._executor = executor if isinstance(executor, Executor) else self._make()
        self._largest, self._again, self._retries, self._progress = largest, again, retries, progress
        self._most = tasks or 4 * _workers(self._executor)
        self._ready: deque[_Task] = deque()
        #: What was being done when an executor broke: one of them may break the next one, too.
        self._suspects: deque[_Task] = deque()
        #: The one of them that is being done, and nothing else is meanwhile.
        self._trial: _Task | None = None
        #: What is being done, and by which executor.
        self._flying: dict[Future[Any], tuple[_Task, Executor]] = {}
        self._swapping: dict[Future[Any], _Packing] = {}
        #: Stored bytes of the objects that are being packed.
        self._held = 0

    def run(self, objects: Iterator[Object | tuple[str, BaseException]]) -> Report:
        """Packs objects."""
        swaps = ThreadPoolExecutor(SWAPS, "lmfs-swap")
        ended = False
        waiting: Object | None = None
        try:
            while True:
                while len(self._flying) < self._most:
                    if self._trial is not None and not self._trial.futures:
                        self._trial = None
                    if self._trial is not None or (self._suspects and self._flying):
                        break
                    if self._suspects:
                        self._trial = self._suspects.popleft()
                        self._submit(self._trial)
                        continue
                    if self._ready:
                        self._submit(self._ready.popleft())
                        continue
                    if waiting is None and not ended:
                        waiting = self._next(objects)
                        ended = waiting is None
                    if waiting is None or (self._held and self._held + waiting.size > self._largest):
                        break
                    self._held += waiting.size
                    packing = _Packing(waiting)
                    self._submit(_Task(packing, None, (look, waiting, self.settings)))
                    waiting = None
                if not self._flying and not self._swapping:
                    # Tasks that are ready were submitted above, and what waits for room finds it now.
                    if ended and waiting is None and not self._ready and not self._suspects:
                        return self.report
                    continue
                done, _ = wait([*self._flying, *self._swapping], self._again, FIRST_COMPLETED)
                for future in done:
                    if future in self._swapping:
                        self._swapped(self._swapping.pop(future), future)
                    elif future in self._flying:
                        self._done(*self._flying.pop(future), future, swaps)
                self._hurry()
        except BaseException:
            if self._local:
                self.packer.stop()
            raise
        finally:
            for future in self._flying:
                future.cancel()
            swaps.shutdown(wait=True)
            if self._own:
                self._executor.shutdown(wait=self._local, cancel_futures=True)
            forget_packer(self.settings)

    def _next(self, objects: Iterator[Object | tuple[str, BaseException]]) -> Object | None:
        """The next object to look at."""
        for found in objects:
            if isinstance(found, tuple):
                self._tell(found[0], "failed", found[1])
            elif found.size > self._largest:
                self._tell(found.path, "too large")
            elif found.size == 0:
                self._tell(found.path, "already")
            else:
                return found
        return None

    def _submit(self, task: _Task) -> None:
        if task.packing.over:
            return
        for _ in range(2):
            executor = self._executor
            try:
                future = executor.submit(*task.call)
                break
            except BrokenExecutor as error:
                self._renew(executor, error)
                if task.packing.over or task in self._suspects:
                    return
        else:
            raise BrokenExecutor("the executor breaks as soon as it is made")
        task.since = time.monotonic()
        task.futures.add(future)
        task.packing.tasks.add(task)
        self._flying[future] = task, executor

    def _renew(self, broken: Executor, error: BaseException) -> None:
        """Goes on with another executor, if this one is still the broken one."""
        if broken is not self._executor:
            return
        if self._make is None:
            raise BrokenExecutor(
                "the executor broke, perhaps as a worker was killed. What was packed stays packed. Give pack a function "
                "that makes executors instead of one, and it goes on with the next"
            ) from error
        lost = self._lost(broken)
        broken.shutdown(wait=False, cancel_futures=True)
        self._executor = self._make()
        for task in lost:
            if len(lost) == 1:
                self._failed(task, error, self._suspects)
            elif not task.futures:
                self._suspects.append(task)

    def _lost(self, broken: Executor) -> list[_Task]:
        """What was being done by an executor that broke."""
        lost: dict[_Task, None] = {}
        for future, (task, executor) in list(self._flying.items()):
            if executor is not broken:
                continue
            if future.done() and not future.cancelled() and not isinstance(future.exception(), BrokenExecutor):
                # It had ended before, and is looked at.
                continue
            del self._flying[future]
            task.futures.discard(future)
            lost[task] = None
        return list(lost)

    def _done(self, task: _Task, executor: Executor, future: Future[Any], swaps: ThreadPoolExecutor) -> None:
        task.futures.discard(future)
        packing = task.packing
        try:
            result = future.result()
            if isinstance(result, str):
                self._close(packing, result)
                return
            piece = result if task.number is not None else result[1]
            if piece is not None and zlib.crc32(piece.blocks) != piece.sum:
                raise OSError("a coded piece was damaged on its way here")
        except (Changed, FileNotFoundError):
            self._close(packing, "changed")
            return
        except BrokenExecutor as error:
            # One of all those that it takes along.
            task.futures.add(future)
            self._flying[future] = task, executor
            self._renew(executor, error)
            return
        except (Exception, CancelledError) as error:
            self._failed(task, error)
            return
        self._forget(task)
        if task.number is None:
            packing.plan = result[0]
            self._planned(packing)
            if packing.over:
                return
        number = task.number or 0
        if piece is not None:
            packing.pieces[number] = piece
        if all(one is not None for one in packing.pieces):
            packing.over = True
            self._swapping[swaps.submit(self._finish, packing)] = packing

    def _planned(self, packing: _Packing) -> None:
        size, length = self.settings.piece, packing.plan.length
        packing.pieces = [None] * max(1, -(-length // size))
        if self.settings.dry_run:
            self.report.before += packing.what.size
            self.report.after += packing.what.size
            self._close(packing, "packed")
        elif length > size:
            # Before other objects are begun.
            for number in reversed(range(len(packing.pieces))):
                at = number * size
                call = (code, packing.what, self.settings, at, min(at + size, length))
                self._ready.appendleft(_Task(packing, number, call))

    def _forget(self, task: _Task) -> None:
        """Waits for nobody any more who does this, too."""
        for future in task.futures:
            future.cancel()
            self._flying.pop(future, None)
        task.futures.clear()
        task.packing.tasks.discard(task)

    def _failed(self, task: _Task, error: BaseException, again: deque[_Task] | None = None) -> None:
        task.tries += 1
        if task.tries > self._retries or isinstance(error, FINAL):
            self._close(task.packing, "failed", error)
        elif not task.futures:
            (self._ready if again is None else again).append(task)

    def _hurry(self) -> None:
        """Lets others do what takes too long."""
        if self._again is None:
            return
        now = time.monotonic()
        for task in {task for task, _ in self._flying.values()}:
            if task.futures and now - task.since > self._again and len(task.futures) <= self._retries:
                self._submit(task)

    def _finish(self, packing: _Packing) -> tuple[str, int]:
        """Makes a container of the pieces, and swaps it for the object."""
        plan, what = packing.plan, packing.what
        container, length, crc32 = self.packer.join([piece.blocks for piece in packing.pieces])
        packing.pieces = []
        layout = find(len(container), lambda start, end: container[start:end], self.settings.model, 1)
        if (length, crc32) != (layout.size, layout.crc32) or length != plan.length or plan.crc32 not in (None, crc32):
            raise OSError(f"what was packed is {length} bytes with CRC-32 {crc32:08x}, what was read is {plan}")
        if length == 0 or len(container) >= plan.limit:
            return "kept", 0
        self.bucket.swap(what.path, what.version, container)
        return "packed", len(container)

    def _swapped(self, packing: _Packing, future: Future[Any]) -> None:
        error: BaseException | None = None
        try:
            outcome, after = future.result()
            if outcome == "packed":
                self.report.before += packing.what.size
                self.report.after += after
        except Changed:
            outcome = "changed"
        except Exception as failed:
            outcome, error = "failed", failed
        self._close(packing, outcome, error)

    def _close(self, packing: _Packing, outcome: str, error: BaseException | None = None) -> None:
        packing.over = True
        packing.pieces = []
        for task in list(packing.tasks):
            self._forget(task)
        self._held -= packing.what.size
        self._tell(packing.what.path, outcome, error)

    def _tell(self, path: str, outcome: str, error: BaseException | None = None) -> None:
        self.report.objects += 1
        if error is not None:
            self.report.errors[path] = error
        elif outcome in ("packed", "already", "changed"):
            setattr(self.report, outcome, getattr(self.report, outcome) + 1)
        else:
            self.report.kept += 1
        if self._progress is not None:
            self._progress(path, outcome)


def _workers(executor: Any) -> int:
    """How many workers an executor has, if it says so."""
    client = getattr(executor, "_client", None)
    if client is not None:
        return max(1, sum(client.nthreads().values()))
    return getattr(executor, "_max_workers", None) or 16


def objects(bucket: Bucket, paths: list[str]) -> Iterator[Object | tuple[str, BaseException]]:
    """The objects at or below paths but those of pushed stores. An error stands for one that cannot be listed."""
    pushed = Pushed(bucket.fs)
    for path in paths:
        found = False
        try:
            bucket.fs.invalidate_cache()
            for info in bucket.list(path):
                found = True
                if pushed.has(info["name"]):
                    continue
                try:
                    version = bucket.version(info)
                except FileNotFoundError:
                    # It is gone.
                    continue
                yield Object(bucket, info["name"], version, info["size"])
        except OSError as error:
            yield path, error
            continue
        if not found:
            yield path, FileNotFoundError(path)


def new_settings(level: int, block_size: int | None, model: str | None, piece: int, **more: Any) -> Settings:
    """Settings of a run of their own."""
    # Of what other runs have loaded nothing is stopped when this one is.
    settings = Settings(level, block_size, model, piece, run=uuid.uuid4().hex, lmfs=_core.__version__, **more)
    size = _core.Packer(level, block_size, "none").block_size
    if piece < size:
        raise ValueError(f"pieces of {piece} bytes are smaller than a block of {size}")
    return replace(settings, piece=piece - piece % size)
