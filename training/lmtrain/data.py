"""Reading packed rows (see `pack`) as batches of inputs and targets."""

import json
from pathlib import Path

import numpy as np
import torch

from .tokenizer import BOS


class Rows:
    """The rows of a pack, in their shuffled order, again from the start after the last."""

    def __init__(self, folder, part="train"):
        """Maps the shards of `part` ("train" or "valid") of the pack in `folder`."""
        folder = Path(folder)
        self.summary = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
        self.length = self.summary["length"]
        paths = sorted(folder.glob(f"{part}*.u16"))
        if not paths:
            raise FileNotFoundError(f"no {part}*.u16 in {folder}: run the pack step first")
        self.shards = [np.memmap(path, np.uint16, "r").reshape(-1, self.length + 1) for path in paths]
        self.kinds = np.fromfile(folder / f"{part}-kinds.u8", np.uint8)
        self.total = sum(len(shard) for shard in self.shards)
        if self.total != len(self.kinds):
            raise ValueError(f"{folder}: {self.total} {part} rows, but kinds of {len(self.kinds)}: run the pack step again")

    def row(self, index):
        """Row `index`, counted on past the end."""
        index %= self.total
        for shard in self.shards:
            if index < len(shard):
                return shard[index]
            index -= len(shard)
        raise IndexError(index)

    def batch(self, first, count, length, device="cpu"):
        """Inputs and targets [count * LENGTH / length, length] of `count` rows from `first`.

        A row cut into several starts each piece with `<s>`, as a lane does.
        """
        rows = np.stack([self.row(index) for index in range(first, first + count)]).astype(np.int64)
        inputs = rows[:, :-1].reshape(-1, length).copy()
        targets = np.ascontiguousarray(rows[:, 1:]).reshape(-1, length)
        inputs[:, 0] = BOS
        return torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
