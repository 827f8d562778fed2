"""Common subexpressions: what is computed twice is computed once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from minigrad.compiler.passes.constants import with_operands
from minigrad.compiler.program import Instruction, Operand, Program


def merge_common(program: Program) -> Program:
    """Let equal calls on equal operands share the results of the first.

    Such as a weight's transpose in every time step, or the sigmoid that a rule computes
    again. Calls that read what was written between them are not equal.
    """
    same: dict[int, Operand] = {}
    seen: dict[Hashable, Instruction] = {}
    roots = program.roots()
    versions: dict[int, int] = {}  # how often the memory of a root was written
    outputs = set(program.outputs)
    body = []
    for instruction in program.body:
        changed = with_operands(instruction, same)
        key = _key(changed, {n: versions.get(roots[n], 0) for n in changed.reads})
        known = seen.get(key)
        complete = len(changed.gives) == len(changed.results)
        if known is not None and complete and not outputs.intersection(changed.gives):
            same |= dict(zip(changed.gives, known.gives, strict=True))
            continue
        body.append(changed)
        for number in changed.written:
            versions[roots[number]] = versions.get(roots[number], 0) + 1
        if complete and not changed.has_effect:
            seen[key] = changed
    return program.with_body(body)


def _key(instruction: Instruction, versions: dict[int, int]) -> Hashable:
    operands = tuple(
        (x, versions.get(x, 0)) if isinstance(x, int) else _constant(x.value)
        for x in instruction.operands
    )
    settings = tuple(sorted((k, repr(v)) for k, v in instruction.settings.items()))
    return instruction.primitive, operands, settings


def _constant(value: Any) -> Hashable:
    """Numbers by type and value, small arrays by what they hold, others by identity."""
    if not isinstance(value, np.ndarray):
        return type(value), repr(value)
    if value.nbytes > 1024:
        return id(value)
    return value.shape, value.dtype, value.tobytes()
