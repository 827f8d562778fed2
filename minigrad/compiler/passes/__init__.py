"""Passes: each takes a program and gives one that computes the same, at less cost."""

from __future__ import annotations

from collections.abc import Callable

from minigrad.compiler.passes import common, constants, dead, products
from minigrad.compiler.program import Program

Pass = Callable[[Program], Program]

PASSES: tuple[Pass, ...] = (
    dead.remove_dead,
    constants.fold_constants,
    common.merge_common,
    products.join_products,
    dead.remove_dead,
)


def optimize(program: Program) -> Program:
    """The program after all passes."""
    for one in PASSES:
        program = one(program)
    return program
