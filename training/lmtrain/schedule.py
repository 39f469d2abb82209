"""Learning rate, row length and batch as functions of the share of the budget spent.

Warm-up, stable, decay (Hu et al. 2024, arXiv 2404.06395): the stable part can be resumed
with a larger budget at any time, the decay turns what was reached into a finished model.
The budget is seconds of training or tokens; a run is reproducible with the latter.
"""

from dataclasses import dataclass

WARM_UP = 100  # steps
DECAY_FROM = 0.5  # share of the budget
FLOOR = 0.01  # factor that the decay ends at


@dataclass(frozen=True)
class Plan:
    """What one step does."""

    rate: float  # factor on the optimizers' rates
    length: int  # tokens a row
    rows: int  # rows of the pack a step (each 1,024 tokens)


def plan(progress, step, decay_from=DECAY_FROM, short_until=0.06, long_from=0.6, rows=8, large_from=0.5):
    """The plan of `step` when `progress` (0 to 1) of the budget is spent."""
    rate = min(1.0, (step + 1) / WARM_UP)
    if progress > decay_from:
        rate *= max(FLOOR, (1 - progress) / (1 - decay_from))
    length = 256 if progress < short_until else 512 if progress < long_from else 1024
    return Plan(rate, length, rows if progress < large_from else 2 * rows)
