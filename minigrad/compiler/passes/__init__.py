"""Passes: each takes a program and gives one that computes the same, at less cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


class Change(NamedTuple):
    """What a pass has done: its name, and the instructions before and after."""

    name: str
    before: int
    after: int


def optimize(program: Program) -> tuple[Program, list[Change]]:
    """The program after all passes, and what each has changed."""
    changes = []
    for one in PASSES:
        before = len(program.body)
        program = one(program)
        changes.append(Change(one.__name__, before, len(program.body)))
    return program, changes
