"""Reads of one version of an object, and writes on the condition that it still is that version."""

from __future__ import annotations

import functools
import os
import random
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterator
from urllib.parse import urlencode

from fsspec.asyn import sync

#: What tells one version of a file from the next one, where a filesystem has it.
VERSION = (
    "size",
    "ETag",
    "etag",
    "generation",
    "version_id",
    "LastModified",
    "last_modified",
    "mtime",
    "created",
    "ino",
)
#: Writers that race for one version, and how many races there are.
WRITERS, RACES = 8, 10


class Changed(Exception):
    """The object is not what it was any more."""


class Bucket:
    """A filesystem without conditional writes: nobody else may write to it meanwhile."""

    #: Whether a write fails if somebody else was there first.
    conditional = False

    def __init__(self, fs: Any) -> None:
        self.fs = fs

    def list(self, path: str) -> Iterator[dict[str, Any]]:
        """The files at or below a path."""
        for info in self.fs.find(path, detail=True).values():
            if info["type"] == "file":
                yield info

    def version(self, info: dict[str, Any]) -> Any:
        """What tells this version from the next one."""
        return tuple(str(info[key]) for key in VERSION if info.get(key) is not None)

    def check(self, path: str, version: Any) -> None:
        self.fs.invalidate_cache(self.fs._parent(path))
        try:
            if self.version(self.fs.info(path)) == version:
                return
        except FileNotFoundError:
            pass
        raise Changed(path)

    def read(self, path: str, version: Any, start: int, end: int) -> bytes:
        """These bytes of this version."""
        data = self.fs.cat_file(path, start, end)
        self.check(path, version)
        if len(data) != end - start:
            raise OSError(f"{path}: {len(data)} bytes came for the range from {start} to {end}")
        return data

    def swap(self, path: str, version: Any, data: bytes) -> None:
        """Replaces this version."""
        self.check(path, version)
        self._write(path, data)

    def _write(self, path: str, data: bytes) -> None:
        self.fs.pipe_file(path, data)


class Files(Bucket):
    """Local files. A file is replaced as a whole."""

    def list(self, path: str) -> Iterator[dict[str, Any]]:
        # A link would be replaced by a file.
        return (info for info in super().list(path) if not info["islink"])

    def version(self, info: dict[str, Any]) -> Any:
        return info["ino"], info["size"], os.stat(info["name"]).st_mtime_ns

    def _write(self, path: str, data: bytes) -> None:
        # Beside it, so that it is renamed within one filesystem.
        number, name = tempfile.mkstemp(prefix=".lmfs-", dir=os.path.dirname(path))
        try:
            with os.fdopen(number, "wb") as out:
                out.write(data)
                out.flush()
                before, after = os.stat(path), os.fstat(out.fileno())
                if (before.st_uid, before.st_gid) != (after.st_uid, after.st_gid):
                    # First, as it clears bits of the mode. Who may not do this would take the file away from its owner.
                    os.fchown(out.fileno(), before.st_uid, before.st_gid)
                shutil.copystat(path, name)
                os.fsync(out.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class S3(Bucket):
    """s3fs. Each request names the ETag."""

    conditional = True
    #: What a PUT takes over from the object that it replaces.
    KEPT = (
        "BucketKeyEnabled",
        "CacheControl",
        "ContentDisposition",
        "ContentEncoding",
        "ContentLanguage",
        "ContentType",
        "Expires",
        "Metadata",
        "SSEKMSKeyId",
        "ServerSideEncryption",
        "StorageClass",
        "WebsiteRedirectLocation",
    )

    def version(self, info: dict[str, Any]) -> Any:
        return info["ETag"]

    def _call(self, method: str, path: str, **options: Any) -> Any:
        bucket, key, _ = self.fs.split_path(path)

        async def call() -> Any:
            answer = await self.fs._call_s3(method, Bucket=bucket, Key=key, **options)
            if method == "get_object":
                # Where its loop runs.
                async with answer["Body"] as body:
                    answer["Body"] = await body.read()
            return answer

        try:
            return sync(self.fs.loop, call)
        except FileNotFoundError:
            raise Changed(path) from None
        except OSError as error:
            # However s3fs translated it.
            code = (getattr(error.__cause__, "response", None) or {}).get("Error", {}).get("Code")
            if code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                raise Changed(path) from error
            raise

    def read(self, path: str, version: Any, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        answer = self._call("get_object", path, Range=f"bytes={start}-{end - 1}", IfMatch=version)
        if answer["ETag"] != version:
            raise Changed(path)
        data = answer["Body"]
        if len(data) != end - start:
            raise OSError(f"{path}: {len(data)} bytes came for the range from {start} to {end}")
        return data

    def swap(self, path: str, version: Any, data: bytes) -> None:
        head = self._call("head_object", path, IfMatch=version)
        if head["ETag"] != version:
            raise Changed(path)
        options = {key: head[key] for key in self.KEPT if head.get(key)}
        if not options.get("ServerSideEncryption", "").startswith("aws:kms"):
            # S3 refuses what is said of keys where there are none of the caller's.
            options.pop("SSEKMSKeyId", None)
            options.pop("BucketKeyEnabled", None)
        if head.get("TagCount", 1):
            tags = self._call("get_object_tagging", path)["TagSet"]
            if tags:
                options["Tagging"] = _encoded(tags)
        try:
            self._call("put_object", path, Body=data, IfMatch=version, **options)
        except (Changed, OSError):
            # The answer may be lost, and when the client asks again, its own object is in the way.
            if not self._is(path, version, data):
                raise
        self.fs.invalidate_cache(path)

    def _is(self, path: str, version: Any, data: bytes) -> bool:
        """Whether the object is ours, and not what it was."""
        head = self._call("head_object", path)
        if head["ETag"] == version or head["ContentLength"] != len(data):
            return False
        return self.read(path, head["ETag"], 0, len(data)) == data

    def create(self, path: str, data: bytes) -> str:
        """Writes what was not there, and returns its version."""
        return self._call("put_object", path, Body=data, IfNoneMatch="*")["ETag"]

    def update(self, path: str, version: str, data: bytes) -> str:
        """Writes on the condition that this is there, and returns the version that is there now."""
        return self._call("put_object", path, Body=data, IfMatch=version)["ETag"]


def _encoded(tags: list[dict[str, str]]) -> str:
    return urlencode([(tag["Key"], tag["Value"]) for tag in tags])


#: By the protocol of the filesystem. Others have no conditional writes that are known here.
BUCKETS: dict[str, type[Bucket]] = {"s3": S3, "s3a": S3, "file": Files, "local": Files}


def bucket_of(fs: Any, exclusive: bool) -> Bucket:
    """How a filesystem is packed."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    bucket = next((BUCKETS[name](fs) for name in protocols if name in BUCKETS), None) or Bucket(fs)
    if not bucket.conditional and not exclusive:
        raise ValueError(
            f"no conditional write is known for {protocols[0]}://, so that packing would lose what others write "
            "meanwhile: set exclusive=True if nobody does, or use `lmfs pack-objects`"
        )
    return bucket


def probe(bucket: Any, folder: str) -> None:
    """Races conditional writes. A server that checks first and writes then, in two steps, loses what others write."""

    def unfit(what: str) -> OSError:
        return OSError(
            f"the server's conditional writes cannot be trusted, and packing would lose what others write: it {what}"
        )

    path = f"{folder.rstrip('/')}/.lmfs-probe-{random.SystemRandom().getrandbits(64):016x}"

    def race(number: int, write: Any) -> Any:
        """What the winner wrote, and its version. Never what was there before: that would have the same version."""

        def attempt(writer: int) -> Any:
            data = b"%d %d" % (number, writer)
            try:
                return data, write(data)
            except Changed:
                return None

        winners = [one for one in pool.map(attempt, range(WRITERS)) if one is not None]
        if len(winners) > 1:
            raise unfit("let several writers win a race")
        if not winners:
            raise unfit("let nobody write")
        return winners[0]

    def refused(version: str, what: str) -> None:
        try:
            bucket.update(path, version, b"")
        except Changed:
            return
        raise unfit(what)

    with ThreadPoolExecutor(WRITERS) as pool:
        try:
            refused('"0123456789abcdef0123456789abcdef"', "wrote an object that was not there although it had to be")
            data, version = race(0, functools.partial(bucket.create, path))
            first = version
            for number in range(1, RACES):
                if bucket.read(path, version, 0, len(data)) != data:
                    raise unfit("has something else than what it said was written")
                data, version = race(number, functools.partial(bucket.update, path, version))
            refused(first, "replaced an object that had changed")
        finally:
            bucket.fs.invalidate_cache(folder)
            if bucket.fs.exists(path):
                bucket.fs.rm_file(path)
