"""Programs: the calls of a step as a list, in which values are numbers, not arrays."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from minigrad.tape import Primitive


class Value(NamedTuple):
    """What is known of an array before there is one."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...] | None = None  # of NumPy's arrays

    @classmethod
    def of(cls, array: Any) -> Value:
        """What is known of an array that is like this one."""
        strides = array.strides if isinstance(array, np.ndarray) else None
        return cls(tuple(array.shape), np.dtype(array.dtype), strides)

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


class Literal(NamedTuple):
    """An operand that is the same in every run: a number, or a constant array."""

    value: Any


Operand = int | Literal


@dataclass(frozen=True, eq=False)
class Instruction:
    """One call: operands and results are the numbers of values.

    A result that nobody wants is None. `shares` names for each result the value whose
    memory it is, where it is a view of one.
    """

    primitive: Primitive
    operands: tuple[Operand, ...]
    settings: dict[str, Any]
    results: tuple[int | None, ...]
    shares: tuple[int | None, ...] = ()
    line: str = ""  # the user's

    @property
    def reads(self) -> list[int]:
        """The values that it reads."""
        return [x for x in self.operands if isinstance(x, int)]

    @property
    def gives(self) -> list[int]:
        """The values that it makes."""
        return [x for x in self.results if x is not None]

    @property
    def written(self) -> list[int]:
        """The values that it changes in place, a generator's state among them."""
        changed = self.primitive.changed(self.operands)
        return [x for x in changed if isinstance(x, int)]

    @property
    def has_effect(self) -> bool:
        """Whether it does more than make its results: it writes, or may refuse."""
        primitive = self.primitive
        return bool(primitive.writes or primitive.advances) or not self.results


@dataclass
class Program:
    """A step: what it takes, its instructions in order, and what it gives.

    Args:
        values: what is known of each value, by its number.
        inputs: the numbers of the values that a run is given.
        body: the instructions.
        outputs: the numbers of the values that a run gives.
    """

    values: dict[int, Value] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    body: list[Instruction] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next = itertools.count().__next__

    def add_value(self, value: Value) -> int:
        """A number for a new value."""
        number = self._next()
        self.values[number] = value
        return number

    def add_input(self, value: Value) -> int:
        """A number for a new value that every run is given."""
        number = self.add_value(value)
        self.inputs.append(number)
        return number

    def roots(self) -> dict[int, int]:
        """For each value the one that owns its memory, views followed to the end."""
        found: dict[int, int] = {number: number for number in self.inputs}
        for instruction in self.body:
            shares = instruction.shares or (None,) * len(instruction.results)
            for number, shared in zip(instruction.results, shares, strict=True):
                if number is not None:
                    found[number] = found.get(shared, number)  # type: ignore[arg-type]
        return found

    def with_body(self, body: list[Instruction]) -> Program:
        """The same program with other instructions."""
        changed = replace(self, body=body)
        changed._next = self._next
        return changed

    def last_uses(self) -> dict[int, int]:
        """For each value the place of the instruction that uses it last.

        Outputs are used after all of them.
        """
        found = {
            number: place
            for place, instruction in enumerate(self.body)
            for number in (*instruction.gives, *instruction.reads)
        }
        return found | dict.fromkeys(self.outputs, len(self.body))

    def __str__(self) -> str:
        return "\n".join(map(self.line_of, self.body))

    def line_of(self, instruction: Instruction) -> str:
        """An instruction as a line to read."""
        results = [self._named(number) for number in instruction.gives]
        settings = [f"{k}={v!r}" for k, v in instruction.settings.items()]
        operands = [
            f"v{x}" if isinstance(x, int) else _literal(x.value)
            for x in instruction.operands
        ]
        call = f"{instruction.primitive.name}({', '.join(operands + settings)})"
        return f"{', '.join(results)} = {call}" if results else call

    def _named(self, number: int) -> str:
        return f"v{number}: {self.values[number]}"


def primitive_of(operation: Any) -> Primitive:
    """The primitive behind an operation such as `mg.add`."""
    return operation.primitive


class Uses:
    """Who makes and who reads each value of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.made_by = {n: i for i in program.body for n in i.gives}
        self.count = Counter(n for i in program.body for n in i.reads)
        self.count.update(program.outputs)

    def only_maker(self, x: Operand) -> Instruction | None:
        """What makes an operand that nobody else reads."""
        if isinstance(x, int) and self.count[x] == 1:
            return self.made_by.get(x)
        return None


def _literal(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size > 1:
        return f"<{value.dtype}{list(value.shape)}>"
    return str(value)
