"""Dead code: instructions whose results nobody reads are dropped."""

from __future__ import annotations

from dataclasses import replace

from minigrad.compiler.program import Instruction, Program


def remove_dead(program: Program) -> Program:
    """Drop what neither an output nor a write in place depends on.

    Such as the gradients of operands that need none, or of a residual that no rule that
    ran has read. A result of several that nobody reads becomes None.
    """
    wanted = set(program.outputs)
    kept: list[Instruction] = []
    for instruction in reversed(program.body):
        if instruction.has_effect or wanted.intersection(instruction.gives):
            results = tuple(x if x in wanted else None for x in instruction.results)
            kept.append(replace(instruction, results=results))
            wanted.update(instruction.reads)
    return program.with_body(kept[::-1])
