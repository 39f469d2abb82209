"""Learning rate, row length and batch as functions of the share of the budget spent.

Warm-up, stable, decay (Hu et al. 2024, arXiv 2404.06395): the stable part can be resumed
with a larger budget at any time, the decay turns what was reached into a finished model.
The budget is seconds of training or tokens; a run is reproducible with the latter.
"""

from dataclasses import dataclass

WARM_UP = 100  # steps
DECAY_FROM = 0.45  # share of the budget
FLOOR = 0.01  # factor that the decay ends at
SHORT_UNTIL, LONG_FROM = 0.06, 0.65  # shares of the budget with rows of 256, and of 1,024 tokens
ROWS = 8  # of the pack, a step (8,192 tokens)
LARGE_AFTER = 50e6  # tokens seen, from when on a step takes twice as many rows


@dataclass(frozen=True)
class Plan:
    """What one step does."""

    rate: float  # factor on the optimizers' rates
    length: int  # tokens a row
    rows: int  # rows of the pack a step (each 1,024 tokens)


def plan(progress, step, seen):
    """The plan of `step` when `progress` (0 to 1) of the budget and `seen` tokens are spent."""
    rate = min(1.0, (step + 1) / WARM_UP)
    if progress > DECAY_FROM:
        rate *= max(FLOOR, (1 - progress) / (1 - DECAY_FROM))
    length = 256 if progress < SHORT_UNTIL else 512 if progress < LONG_FROM else 1024
    return Plan(rate, length, ROWS if seen < LARGE_AFTER else 2 * ROWS)
