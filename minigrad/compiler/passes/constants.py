"""Constant folding: what depends on no input is computed once, when compiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minigrad.compiler.program import Instruction, Literal, Operand, Program
from minigrad.tape.record import run


def fold_constants(program: Program) -> Program:
    """Replace the results of calls on constants alone by those constants.

    Such as masks of positions, states of zeros, and the ones that a backward pass
    starts from. Constants must not be written to; an output stays an instruction, for
    a caller may write into what it is given.
    """
    roots = program.roots()
    kept = {roots[n] for n in program.outputs}
    kept |= {roots[n] for i in program.body for n in i.written}
    known: dict[int, Literal] = {}
    body = []
    for instruction in program.body:
        changed = with_operands(instruction, known)
        if _is_constant(changed) and kept.isdisjoint(roots[n] for n in changed.gives):
            known |= _results(changed)
        else:
            body.append(changed)
    return program.with_body(body)


def with_operands(
    instruction: Instruction, known: Mapping[int, Operand]
) -> Instruction:
    """The instruction with other operands where they are known."""
    operands = tuple(
        known.get(x, x) if isinstance(x, int) else x for x in instruction.operands
    )
    shares = tuple(
        None if x is None else _number(known.get(x, x)) for x in instruction.shares
    )
    return replace(instruction, operands=operands, shares=shares)


def _number(x: Operand) -> int | None:
    return x if isinstance(x, int) else None


def _is_constant(instruction: Instruction) -> bool:
    return not instruction.has_effect and not instruction.reads


def _results(instruction: Instruction) -> dict[int, Literal]:
    primitive = instruction.primitive
    operands = [x.value for x in instruction.operands if isinstance(x, Literal)]
    call = run(primitive, operands, instruction.settings, (True,) * len(operands))
    found: dict[int, Literal] = {}
    for number, value in zip(instruction.results, call.results, strict=False):
        if number is not None:
            found[number] = Literal(_frozen(value))
    return found


def _frozen(value: Any) -> Any:
    """A constant that nobody can write to by mistake."""
    if isinstance(value, np.ndarray):
        value = value.view()
        value.setflags(write=False)
    return value
