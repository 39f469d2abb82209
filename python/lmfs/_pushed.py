"""Objects of a store that `lmfs push` keeps in a bucket. Packing them would destroy the store, so they are left out."""

from __future__ import annotations

import re
from typing import Any

HEAD = "HEAD"
#: What a HEAD begins with.
MAGIC = b"lmfs-head"
#: HEAD, its lock, and pieces, which are named after files of the store.
PART = re.compile(r"(?:^|(?<=/))(?:HEAD(?:\.[^/]*)?|config\.toml\.[^/.]*"
                  r"|models/[0-9a-f]{64}\.gguf\.[^/.]*|segments/[0-9]{8}\.seg\.[^/.]*)$")


class Pushed:
    """The prefixes that were looked at. Only objects with names as a store has cost a request, one for each prefix."""

    def __init__(self, fs: Any) -> None:
        self.fs = fs
        self.known: dict[str, bool] = {}

    def has(self, path: str) -> bool:
        """Whether an object belongs to a store."""
        part = PART.search(path)
        if part is None:
            return False
        prefix = path[: part.start()]
        if prefix not in self.known:
            try:
                start = self.fs.cat_file(prefix + HEAD, 0, len(MAGIC))
            except FileNotFoundError:
                start = b""
            self.known[prefix] = start == MAGIC
        return self.known[prefix]
