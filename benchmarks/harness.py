"""The harness: frameworks side by side, in child processes that take turns."""

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from benchmarks import machine
from benchmarks.peers import MODULES, REFERENCE
from benchmarks.works import Work

ROOT = Path(__file__).resolve().parent.parent
CHILD_TIMEOUT = 300.0
AGREEMENT = 1e-4
"""How far the checked numbers of two frameworks may differ, relatively."""

Ask = Callable[..., dict[str, Any]]
Quantity = Literal["time", "memory"]


class ChildError(RuntimeError):
    """A child process gave no answer; the message is its last line of error output."""


@dataclass
class Row:
    """One framework at one work: what each round measured, or why there is nothing."""

    work: str
    peer: str
    label: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    checked: list[list[float]] = field(default_factory=list)
    trouble: str = ""

    def figures(self, quantity: Quantity) -> Sequence[float]:
        """Return one figure a round: the step's seconds, or peak bytes over import."""
        return self.seconds if quantity == "time" else self.peak_bytes

    def median(self, quantity: Quantity = "time") -> float:
        """Return the median over the rounds."""
        return statistics.median(self.figures(quantity))

    def add(self, answer: dict[str, Any]) -> None:
        """Take in one round's answer."""
        self.seconds.append(answer["seconds"])
        self.peak_bytes.append(answer["peak_bytes"])
        self.checked = answer["checked"]

    def reject(self, trouble: str) -> None:
        """Keep no figure of this row: they are not to be compared."""
        self.trouble = trouble
        self.seconds.clear()
        self.peak_bytes.clear()


@dataclass
class Results:
    """Everything a run found out; rows stand in the order of works and peers."""

    machine: dict[str, str]
    peers: dict[str, dict[str, Any]]
    missing: dict[str, str]
    rows: list[Row] = field(default_factory=list)

    def measured(self, work: str, peer: str) -> list[Row]:
        """Return the peer's rows of a work that have figures."""
        rows = [r for r in self.rows if (r.work, r.peer) == (work, peer)]
        return [r for r in rows if r.seconds]

    def find(self, work: str, label: str) -> Row | None:
        """Return the row of this name if it has figures."""
        rows = (r for r in self.rows if (r.work, r.label) == (work, label))
        return next((r for r in rows if r.seconds), None)

    def best_reference(self, work: str, quantity: Quantity = "time") -> Row | None:
        """Return PyTorch's best row of a work, if there is one."""
        rows = self.measured(work, REFERENCE)
        return min(rows, key=lambda row: row.median(quantity), default=None)


def ask_child(*arguments: str) -> dict[str, Any]:
    """Run one child and return its answer. Raises: ChildError."""
    command = [sys.executable, "-m", "benchmarks.child", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=machine.child_environment(),
            capture_output=True,
            text=True,
            timeout=CHILD_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ChildError(f"took more than {CHILD_TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise ChildError(last[0])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def discover(
    names: Iterable[str], ask: Ask = ask_child
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return what each importable peer offers, and why the others are missing."""
    offers, missing = {}, {}
    for name in names:
        try:
            offers[name] = ask(name)
        except ChildError as error:
            missing[name] = str(error)
    return offers, missing


def run(
    works: Sequence[Work],
    names: Iterable[str],
    rounds: int,
    seconds: float,
    report: Callable[[str], None],
    ask: Ask = ask_child,
) -> Results:
    """Measure every work with every installed peer, `rounds` times in turns."""
    ordered = [name for name in MODULES if name in set(names)]
    offers, missing = discover(ordered, ask)
    results = Results(machine.describe(), offers, missing)
    for work in works:
        rows = [
            Row(work.name, name, label)
            for name, offered in offers.items()
            for label in offered["labels"].get(work.kind, ())
        ]
        for number in range(rounds):
            report(f"{work.name}: round {number + 1} of {rounds}")
            take_turns(rows, number, seconds, ask)
        check_agreement(rows)
        results.rows += rows
    return results


def take_turns(rows: list[Row], number: int, seconds: float, ask: Ask) -> None:
    """Run each row's child once; every other round in the opposite order.

    A row that failed is not tried again, so that rounds stay comparable.
    """
    for row in rows[:: -1 if number % 2 else 1]:
        if row.trouble:
            continue
        try:
            row.add(ask(row.peer, row.label, row.work, str(seconds)))
        except ChildError as error:
            row.reject(f"failed: {error}")


def check_agreement(rows: list[Row]) -> None:
    """Reject every row whose numbers differ from PyTorch's, or else the first row's."""
    done = [row for row in rows if not row.trouble]
    done.sort(key=lambda row: row.peer != REFERENCE)
    for row in done[1:]:
        if not agree(done[0].checked, row.checked):
            row.reject(
                f"computes something else: {row.checked} instead of {done[0].checked}"
            )


def agree(expected: list[list[float]], found: list[list[float]]) -> bool:
    """Say whether the numbers of the first steps are the same up to `AGREEMENT`."""
    if [len(step) for step in expected] != [len(step) for step in found]:
        return False
    pairs = zip(chain(*expected), chain(*found), strict=True)
    return all(math.isclose(a, b, rel_tol=AGREEMENT) for a, b in pairs)


def ratios(row: Row, reference: Row, quantity: Quantity = "time") -> list[float]:
    """Return the ratios round by round: neighbours in time are compared."""
    pairs = zip(row.figures(quantity), reference.figures(quantity), strict=True)
    return [mine / theirs for mine, theirs in pairs]
