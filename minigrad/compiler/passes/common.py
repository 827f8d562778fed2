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
    inputs = set(program.inputs)  # which may share memory in some later run
    versions: dict[int, int] = {}  # how often the memory of a root was written
    outputs = set(program.outputs)
    body = []
    for instruction in program.body:
        changed = with_operands(instruction, same)
        owners = {n: -1 if roots[n] in inputs else roots[n] for n in changed.reads}
        key = _key(changed, {n: versions.get(owners[n], 0) for n in changed.reads})
        known = seen.get(key)
        complete = len(changed.gives) == len(changed.results)
        if known is not None and complete and not outputs.intersection(changed.gives):
            same |= dict(zip(changed.gives, known.gives, strict=True))
            continue
        body.append(changed)
        for number in changed.written:
            owner = -1 if roots[number] in inputs else roots[number]
            versions[owner] = versions.get(owner, 0) + 1
        if complete and not changed.has_effect:
            seen[key] = changed
    return program.with_body(body)


def _key(instruction: Instruction, versions: dict[int, int]) -> Hashable:
    operands = tuple(
        (x, versions.get(x, 0)) if isinstance(x, int) else _constant(x.value)
        for x in instruction.operands
    )
    items = sorted(instruction.settings.items())
    settings = tuple((name, type(value), _setting(value)) for name, value in items)
    return instruction.primitive, operands, settings


def _setting(value: Any) -> Hashable:
    """Settings by value; what cannot be hashed stands for itself."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return repr(value) if isinstance(value, float) else value


def _constant(value: Any) -> Hashable:
    """Numbers by type and value, small arrays by what they hold, others by identity."""
    if not isinstance(value, np.ndarray):
        return type(value), repr(value)
    if value.nbytes > 1024:
        return id(value)
    return value.shape, value.dtype, value.tobytes()
