"""Other ways to run a primitive, of which a program takes the one that is faster."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.program import (
    Instruction,
    Literal,
    Operand,
    Program,
    primitive_of,
)
from minigrad.tape import Primitive

Forward = Callable[..., Any]
Make = Callable[[], Forward | None]

TRIALS = 3

_offers: dict[Primitive, Make] = {}


def offer(operation: Any, make: Make) -> None:
    """Offer compiled programs another forward of an operation.

    Args:
        operation: what `mg.primitive` made.
        make: gives a function that takes and gives what the forward does, bit for bit,
            or None where it cannot be had. It is called when a program has that call.
    """
    _offers[primitive_of(operation)] = functools.cache(make)


def forward_of(program: Program, instruction: Instruction) -> Forward:
    """The forward to run: the one offered, where a trial shows that it is faster."""
    plain = instruction.primitive.forward
    make = _offers.get(instruction.primitive)
    other = make() if make is not None else None
    if other is None:
        return plain
    times = [_seconds(program, instruction, f) for f in (plain, other)]
    return other if times[1] < times[0] else plain


def _seconds(program: Program, instruction: Instruction, forward: Forward) -> float:
    """The best time of a few trials on zeros, after one that is not counted."""
    operands = [_zeros(program, x) for x in instruction.operands]
    best = float("inf")
    for trial in range(TRIALS + 1):
        started = time.perf_counter()
        forward(*operands, **instruction.settings)
        seconds = time.perf_counter() - started
        best = min(best, seconds) if trial else best
    return best


def _zeros(program: Program, x: Operand) -> Any:
    if isinstance(x, Literal):
        return x.value
    value = program.values[x]
    return np.zeros(value.shape, value.dtype)
