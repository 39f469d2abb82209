"""Muon for the matrices of the blocks, AdamW for the embedding and the norms.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) replaces the momentum of a
matrix by the nearest orthogonal matrix, found with five Newton-Schulz steps. Matrices of
one shape are orthogonalized in one batch. AdamW: Loshchilov and Hutter, arXiv 1711.05101.
"""

import torch

MUON_RATE = 0.02
ADAM_RATE = 0.004


def orthogonalize(batch, dtype, steps=5):
    """Nearly orthogonal matrices from `batch` [count, rows, columns] (singular values ~1), computed in `dtype`."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = batch.to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(1, 2) if tall else x).to(batch.dtype)


class Optimizer:
    """Both optimizers over one model, with a common factor on their rates."""

    def __init__(self, model, dtype, muon_rate=MUON_RATE, adam_rate=ADAM_RATE, decay=0.01):
        self.dtype = dtype
        self.muon_rate, self.adam_rate, self.decay = muon_rate, adam_rate, decay
        matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
        known = {id(p) for p in matrices}
        self.plain = [p for p in model.parameters() if id(p) not in known]
        self.groups = {}
        for p in matrices:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.momentum = {
            shape: torch.zeros(len(group), *shape, device=group[0].device) for shape, group in self.groups.items()
        }
        self.first = [torch.zeros_like(p) for p in self.plain]
        self.second = [torch.zeros_like(p) for p in self.plain]
        self.steps = 0

    @torch.no_grad()
    def step(self, factor):
        """Applies the gradients in `.grad` with rates times `factor`."""
        self.steps += 1
        beta = min(0.95, 0.85 + 0.1 * self.steps / 300)
        for shape, group in self.groups.items():
            momentum = self.momentum[shape]
            gradient = torch.stack([p.grad for p in group])
            momentum.lerp_(gradient, 1 - beta)
            update = orthogonalize(gradient.lerp_(momentum, beta), self.dtype)
            rate = self.muon_rate * factor
            scale = rate * max(1.0, shape[0] / shape[1]) ** 0.5
            for p, change in zip(group, update):
                p.mul_(1 - rate * self.decay).sub_(change, alpha=scale)
        rate = self.adam_rate * factor
        slow, fast = 1 - 0.9**self.steps, 1 - 0.95**self.steps
        for p, first, second in zip(self.plain, self.first, self.second):
            first.lerp_(p.grad, 0.1)
            second.lerp_(p.grad.square(), 0.05)
            p.sub_(first / slow / ((second / fast).sqrt() + 1e-8), alpha=rate)

    def state(self):
        """Everything that a resumed run needs."""
        return {"momentum": self.momentum, "first": self.first, "second": self.second, "steps": self.steps}

    @torch.no_grad()
    def load(self, state):
        """Takes over what `state` returned in an earlier run."""
        for shape, value in state["momentum"].items():
            self.momentum[tuple(shape)].copy_(value)
        for mine, theirs in zip(self.first + self.second, state["first"] + state["second"]):
            mine.copy_(theirs)
        self.steps = state["steps"]
