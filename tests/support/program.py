"""A program as data: operations with sharing, on leaves and constants.

Printed it is a minigrad snippet, a line an operation; `run` executes these very lines;
`series` evaluates it without minigrad (`tests.support.series`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from minigrad import functions
from minigrad.ops import elementwise, index, linalg, reduce, shape
from minigrad.tensor import Tensor
from tests.support.series import RULES

Shape = tuple[int, ...]

# What "mg" means in a program's lines.
_rooms = (elementwise, index, linalg, reduce, shape, functions)
_mg = SimpleNamespace(
    **{name: value for room in _rooms for name, value in vars(room).items()}
)
_mg.Tensor = Tensor


class Start(NamedTuple):
    """A value that a program starts from: a leaf, or a constant."""

    shape: Shape
    low: float
    high: float
    seed: tuple[int, int]
    constant: bool

    @property
    def text(self) -> str:
        """NumPy code for the value: the same numbers every time, no two equal."""
        seed, bounds = list(self.seed), f"{self.low}, {self.high}"
        return f"np.random.default_rng({seed}).uniform({bounds}, {self.shape})"

    @property
    def array(self) -> np.ndarray:
        """The value."""
        drawn = np.random.default_rng(list(self.seed)).uniform(
            self.low, self.high, self.shape
        )
        return np.asarray(drawn)


class Step(NamedTuple):
    """One operation: its kind, its line of minigrad, its operands and settings."""

    kind: str
    text: str
    operands: tuple[int, ...]
    settings: dict[str, Any]
    makes: tuple[int, ...]
    many: bool

    @property
    def line(self) -> str:
        """The operation as a line of Python."""
        names = ", ".join(f"v{i}" for i in self.makes)
        names = f"[{names}]" if self.many else names
        return f"{names} = {self.text.format(*(f'v{i}' for i in self.operands))}"

    def series(self, operands: Sequence[Any]) -> list[Any]:
        """The values as series, by a rule that knows no tape."""
        results = RULES[self.kind](*operands, **self.settings)
        return results if self.many else [results]


@dataclass(frozen=True)
class Program:
    """Operations on leaves and constants, each value named by its number.

    `outputs` are the values to be differentiated; what no output needs is there too.
    """

    starts: tuple[Start, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        head = ["import numpy as np", "import minigrad as mg"]
        starts = [
            f"v{i} = mg.Tensor({start.text}"
            + (")" if start.constant else ", requires_grad=True)")
            for i, start in enumerate(self.starts)
        ]
        outputs = ", ".join(f"v{i}" for i in self.outputs)
        return "\n".join([*head, *starts, *self._lines, f"outputs = [{outputs}]"])

    __repr__ = __str__

    @functools.cached_property
    def _lines(self) -> tuple[str, ...]:
        return tuple(step.line for step in self.steps)

    @property
    def leaves(self) -> list[np.ndarray]:
        """The values of the leaves, float64."""
        return [start.array for start in self.starts if not start.constant]

    def begin(self, *leaves: Tensor) -> dict[int, Tensor]:
        """The values before the first operation, by number, on the leaves' device."""
        given = iter(leaves)
        return {
            i: Tensor(start.array, device=leaves[0].device)
            if start.constant
            else next(given)
            for i, start in enumerate(self.starts)
        }

    def advance(self, values: dict[int, Tensor], first: int, last: int) -> None:
        """Run the lines of steps first, ..., last - 1 on `values`, which grow."""
        names: dict[str, Any] = {f"v{i}": value for i, value in values.items()}
        code = compile("\n".join(self._lines[first:last]), "<program>", "exec")
        exec(code, {"np": np, "mg": _mg}, names)
        for step in self.steps[first:last]:
            values.update({i: names[f"v{i}"] for i in step.makes})

    def run(self, *leaves: Tensor) -> list[Tensor]:
        """The outputs for these leaves, recorded where they require gradients."""
        values = self.begin(*leaves)
        self.advance(values, 0, len(self.steps))
        return [values[i] for i in self.outputs]

    def series(
        self,
        tangents: Sequence[np.ndarray],
        order: int = 1,
        noise: np.random.Generator | None = None,
    ) -> list[list[np.ndarray]]:
        """The outputs along leaves + t * tangents: coefficients of t**0, ..., t**order.

        Args:
            tangents: one array a leaf: how it moves.
            order: the highest power of t.
            noise: disturb each result by some units in the last place, to see what
                rounding can do to the outputs.

        Source: D. S. Parker, "Monte Carlo arithmetic", 1997 (for the noise).
        """
        given = iter(tangents)
        values = [_line_of(start, given, order) for start in self.starts]
        for step in self.steps:
            results = step.series([values[i] for i in step.operands])
            values += [_disturbed(r, noise) for r in results] if noise else results
        return [[np.asarray(c) for c in values[i]] for i in self.outputs]


def _line_of(start: Start, tangents: Any, order: int) -> list[Any]:
    value = start.array
    still = np.zeros(value.shape)
    tangent = still if start.constant else next(tangents)
    return [value, tangent, *[still] * (order - 1)][: order + 1]


def _disturbed(series: list[Any], noise: np.random.Generator) -> list[Any]:
    unit = 4 * float(np.finfo(np.float64).eps)
    return [c * (1 + unit * noise.uniform(-1, 1, np.shape(c))) for c in series]
