"""The training loop: one process per CPU core, or one for a GPU.

On CPUs, single-threaded processes that meet once a step waste far less than threads that
meet in every operation, above all on a machine with other work. Rows of a step are taken
from a common counter (`elastic`) or dealt out in turn, which makes a run reproducible.
"""

import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist

from . import attention, loss
from .data import Rows
from .model import SHAPES, Model, precision
from .optimizer import Optimizer
from .schedule import DECAY_FROM, ROWS, plan
from .tokenizer import BOS, ByteTokenizer
from .transplant import transplant


@dataclass(frozen=True)
class Settings:
    """What a run is made of; all paths are folders or files outside the repository."""

    model: str
    tokens: Path  # the pack
    tokenizer: Path
    out: Path  # checkpoints and the log
    budget: float  # seconds, or tokens when `count` is "tokens"
    count: str = "seconds"
    processes: int = 2
    micro: int = 2  # rows at a time
    seed: int = 1
    elastic: bool = True
    compile: bool = True
    save_every: float = 240.0  # seconds
    stop_at: int | None = None  # a step at which to stop as if interrupted, for tests of resuming
    resume: Path | None = None
    start: Path | None = None  # a GGUF model to start from instead of chance
    rate: float = 1.0  # factor on all learning rates


def run(settings):
    """Trains (or goes on training) and returns the path of the last checkpoint."""
    if ROWS % settings.micro:
        raise ValueError(f"{settings.micro} rows at a time: a step has {ROWS} rows, so a divisor of that is needed")
    settings.out.mkdir(parents=True, exist_ok=True)
    if torch.cuda.is_available():
        _Worker(replace(settings, processes=1), 0).run()
    else:
        torch.multiprocessing.spawn(_start, (settings,), nprocs=settings.processes)
    return settings.out / "last.pt"


def _start(rank, settings):
    torch.set_num_threads(1)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(20000 + os.getppid() % 20000))
    dist.init_process_group("gloo", rank=rank, world_size=settings.processes)
    _Worker(settings, rank).run()
    dist.destroy_process_group()


class _Worker:
    def __init__(self, settings, rank):
        self.settings, self.rank = settings, rank
        self.world = settings.processes
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(settings.seed)
        path = settings.resume or settings.out / "last.pt"
        shape = SHAPES[settings.model]
        if settings.start and not path.exists():
            self.model = transplant(settings.start, shape, settings.tokenizer).to(self.device)
        else:
            self.model = Model(shape).to(self.device)
        self.average = [p.detach().clone() for p in self.model.parameters()]
        self.precision = precision(self.device)
        self.optimizer = Optimizer(self.model, self.precision)
        self.rows = Rows(settings.tokens)
        self.valid = Rows(settings.tokens, "valid")
        sizes = [len(piece) for piece in ByteTokenizer(settings.tokenizer).token_bytes]
        self.sizes = torch.tensor(sizes, device=self.device)
        self.step = self.position = self.seen = 0
        self.spent = 0.0  # seconds of training, over all calls
        if path.exists():
            self._load(path)
        parameters = list(self.model.parameters())
        self.flat = torch.zeros(sum(p.numel() for p in parameters) + 3, device=self.device)
        offset = 0
        for p in parameters:
            p.grad = self.flat[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
        self.softmax_step = loss._softmax_step
        if settings.compile:
            torch._dynamo.config.recompile_limit = 256
            torch._dynamo.config.accumulated_recompile_limit = 2048
            attention.compile_kernels()
            self.softmax_step = torch.compile(loss._softmax_step, dynamic=False)
            for block in self.model.blocks:
                block.compile(dynamic=False)
            self.model.final_norm = torch.compile(self.model.final_norm, dynamic=False)

    def run(self):
        """Steps until the budget is spent."""
        last_save = last_line = time.monotonic()
        line_loss, line_seen = [], self.seen
        while True:
            started = time.monotonic()
            progress = (self.spent if self.settings.count == "seconds" else self.seen) / self.settings.budget
            if progress >= 1 or self.step == self.settings.stop_at:
                break
            now = plan(progress, self.step, self.seen)
            if self.rank == 0 and progress > DECAY_FROM and not (self.settings.out / "stable.pt").exists():
                self.save("stable.pt")  # before the decay: what a longer run goes on from
            value = self._one(now)
            if self.rank == 0:
                line_loss.append(value)
                clock = time.monotonic()
                if clock - last_line > 20:
                    rate = (self.seen - line_seen) / (clock - last_line)
                    self._log(
                        f"step {self.step} progress {progress:.4f} length {now.length} rows {now.rows} "
                        f"rate {now.rate:.3f} loss {sum(line_loss) / len(line_loss):.4f} "
                        f"tokens {self.seen / 1e6:.2f}M {rate:.0f}/s"
                    )
                    line_loss, line_seen, last_line = [], self.seen, clock
                if clock - last_save > self.settings.save_every:
                    self.save("last.pt")
                    last_save = clock
            self.spent += self._agree(time.monotonic() - started)
        if self.rank == 0:
            self.save("last.pt")
            self._log(f"stopped at step {self.step}, {self.seen} tokens, {self.spent:.0f} s")
            self._validate()

    def _one(self, now):
        """One optimizer step; returns its loss in bits a byte."""
        self.flat.zero_()
        micros = now.rows // self.settings.micro
        targets = now.rows * self.rows.length
        for number in self._turns(micros):
            first = self.position + number * self.settings.micro
            x, y = self.rows.batch(first, self.settings.micro, now.length, self.device)
            states = self.model(x, self.precision)
            value, count = loss.cross_entropy(
                states.view(-1, states.shape[-1]), self.model.embedding, y.view(-1), 1 / targets, self.softmax_step
            )
            value.backward()
            self.flat[-3] += float(value.detach()) * targets
            self.flat[-2] += count
            self.flat[-1] += float(self.sizes[y].sum())
        if self.world > 1:
            dist.all_reduce(self.flat)
        nats, count, size = (float(v) for v in self.flat[-3:])
        if not math.isfinite(nats):
            raise FloatingPointError(f"the loss of step {self.step} is not finite; go back to an older checkpoint")
        self.optimizer.step(now.rate * self.settings.rate)
        with torch.no_grad():
            keep = min(0.998, self.step / (self.step + 10))
            for mean, p in zip(self.average, self.model.parameters()):
                mean.lerp_(p, 1 - keep)
        self.step += 1
        self.position += now.rows
        self.seen += int(count)
        return nats / math.log(2) / size

    def _turns(self, micros):
        """The micro-batches of this step that fall to this process."""
        if self.world == 1 or not self.settings.elastic:
            yield from range(self.rank, micros, self.world)
            return
        store = dist.distributed_c10d._get_default_store()
        while (number := store.add(f"turn/{self.step}", 1) - 1) < micros:
            yield number

    def _agree(self, seconds):
        """The time of the step on process 0, so that all follow the same schedule."""
        if self.world == 1:
            return seconds
        box = torch.tensor([seconds], dtype=torch.float64)
        dist.broadcast(box, 0)
        return float(box)

    @torch.no_grad()
    def _validate(self, limit=96):
        """Logs bits a byte on held-out rows by kind, for the averaged and the last weights."""
        for name in ("last", "average"):
            if name == "average":
                self._swap()
            sums = {}
            stride = max(1, self.valid.total // limit)
            for index in range(0, self.valid.total, stride):
                x, y = self.valid.batch(index, 1, self.valid.length, self.device)
                logits = self.model.logits(x)
                nats = torch.nn.functional.cross_entropy(logits[0], y[0], reduction="none")
                kind = self.valid.summary["kinds"][self.valid.kinds[index]]
                bits, size = sums.get(kind, (0.0, 0))
                real = y[0] != BOS
                sums[kind] = (bits + float(nats[real].sum()) / math.log(2), size + int(self.sizes[y].sum()))
            mean = sum(b for b, _ in sums.values()) / sum(s for _, s in sums.values())
            table = " ".join(f"{kind} {b / s:.3f}" for kind, (b, s) in sums.items())
            self._log(f"valid ({name}) {mean:.4f}: {table}")
        self._swap()

    def _swap(self):
        for mean, p in zip(self.average, self.model.parameters()):
            kept = p.detach().clone()
            p.data.copy_(mean)
            mean.copy_(kept)

    def save(self, name):
        """Writes a checkpoint that a later run can go on from."""
        state = {
            "shape": self.model.shape.to_dict(),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state(),
            "step": self.step,
            "position": self.position,
            "seen": self.seen,
            "spent": self.spent,
            "name": self.settings.model,
        }
        path = self.settings.out / name
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    def _load(self, path):
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for mine, theirs in zip(self.average, state["average"]):
            mine.copy_(theirs)
        self.optimizer.load(state["optimizer"])
        self.step, self.position, self.seen = state["step"], state["position"], state["seen"]
        self.spent = state["spent"]
        if self.rank == 0:
            self._log(f"resumed {path} at step {self.step}, {self.seen} tokens, {self.spent:.0f} s")

    def _log(self, text):
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with open(self.settings.out / "log.txt", "a", encoding="utf-8") as file:
            file.write(line + "\n")
