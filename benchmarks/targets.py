"""Targets, and whether they are reached; one without its peer is not shown."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.harness import Quantity, Results, Row, ratios
from benchmarks.works import LAYER_STEPS

OURS = "minigrad"
MET, MISSED, NOT_SHOWN = "met", "missed", "not shown"


@dataclass(frozen=True)
class Verdict:
    """How a target stands: the ratios of the rounds, or why there are none."""

    status: str
    ratios: tuple[float, ...] = ()
    reason: str = ""

    @property
    def median(self) -> float:
        """The ratio that is judged."""
        return statistics.median(self.ratios)


class Target(Protocol):
    """Something to reach: `title` says what, `limit` the ratio allowed at most."""

    @property
    def title(self) -> str: ...
    @property
    def limit(self) -> float: ...
    def judge(self, results: Results) -> Verdict: ...


@dataclass(frozen=True)
class AgainstPyTorch:
    """At most `limit` of PyTorch's time or memory at a work.

    Our row called `row` is compared with PyTorch's called `label`, or its best one.
    """

    title: str
    work: str
    limit: float
    quantity: Quantity = "time"
    label: str = ""
    row: str = OURS

    def judge(self, results: Results) -> Verdict:
        """Compare our row with PyTorch's; without both of them nothing is shown."""
        theirs = (
            results.find(self.work, self.label)
            if self.label
            else results.best_reference(self.work, self.quantity)
        )
        ours = results.find(self.work, self.row)
        missing = self.row if ours is None else self.label or "PyTorch"
        return verdict(ours, theirs, missing, self.limit, self.quantity)


@dataclass(frozen=True)
class Linear:
    """A time step of the longest sequence costs at most `limit` of the shortest's."""

    title: str
    steps: Sequence[int]
    limit: float

    def judge(self, results: Results) -> Verdict:
        """Compare our time for one time step at the greatest and the least T."""
        short = results.find(f"layer-{min(self.steps)}", OURS)
        long = results.find(f"layer-{max(self.steps)}", OURS)
        return verdict(long, short, f"{OURS} at both lengths", self.limit)


def verdict(
    ours: Row | None,
    theirs: Row | None,
    missing: str,
    limit: float,
    quantity: Quantity = "time",
) -> Verdict:
    """Judge the median of the rounds' ratios."""
    if ours is None or theirs is None:
        return Verdict(NOT_SHOWN, reason=f"no figure for {missing}")
    found = tuple(ratios(ours, theirs, quantity))
    return Verdict(MET if statistics.median(found) <= limit else MISSED, found)


def compiled(
    title: str,
    work: str,
    limit: float,
    quantity: Quantity = "time",
    label: str = "",
    row: str = OURS,
) -> AgainstPyTorch:
    """Return a target for our row of that name, compiled, on one core."""
    title, row = f"{title}, compiled", f"{row}, compiled"
    return AgainstPyTorch(title, work, limit, quantity, label, row)


EAGER = "PyTorch eager cell"
TARGETS: tuple[Target, ...] = (
    AgainstPyTorch("one operation, alone", "operation", 0.75),
    AgainstPyTorch("one operation of a chain of 100", "operation-of-100", 0.75),
    AgainstPyTorch("100,000 operations", "chain", 0.7),
    AgainstPyTorch("100,000 operations, memory", "chain", 0.6, "memory"),
    AgainstPyTorch("MLP", "mlp", 0.8),
    AgainstPyTorch("LSTM, N = 25, to the eager cell", "lstm-25", 0.85, label=EAGER),
    AgainstPyTorch("LSTM, N = 128, to the eager cell", "lstm-128", 0.85, label=EAGER),
    AgainstPyTorch("RNN, to nn.RNN", "rnn-25", 1.2),
    AgainstPyTorch("LSTM memory, N = 25", "lstm-25", 0.6, "memory"),
    AgainstPyTorch("LSTM memory, N = 128", "lstm-128", 0.6, "memory"),
    AgainstPyTorch("Transformer for CoLA, as written", "judge", 0.9, label="PyTorch"),
    AgainstPyTorch("Transformer for CoLA, memory", "judge", 1.0, "memory"),
    AgainstPyTorch("SqueezeNet, forward", "squeezenet", 1.05, label="PyTorch"),
    AgainstPyTorch(
        "SqueezeNet, forward + gradient", "squeezenet-gradient", 1.4, label="PyTorch"
    ),
    compiled("MLP", "mlp", 0.75),
    compiled("LSTM, N = 25", "lstm-25", 0.85),
    compiled("LSTM, N = 128", "lstm-128", 0.9),
    compiled("RNN", "rnn-25", 0.7),
    compiled(
        "Transformer, all positions",
        "judge",
        0.75,
        label="PyTorch",
        row=f"{OURS}, all positions",
    ),
    compiled("MLP, memory", "mlp", 1.0, "memory"),
    compiled("LSTM memory, N = 25", "lstm-25", 1.0, "memory"),
    compiled("LSTM memory, N = 128", "lstm-128", 1.0, "memory"),
    Linear(
        f"LSTM layer linear in T: a time step of T = {max(LAYER_STEPS)}, "
        f"to one of T = {min(LAYER_STEPS)}",
        LAYER_STEPS,
        1.5,
    ),
)
