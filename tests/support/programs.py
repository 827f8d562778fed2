"""Whole programs, drawn at random: any numbers mean one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.support import computing, moving
from tests.support.draft import Choices, Draft
from tests.support.program import Program, Shape, Start

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

KINDS = (*computing.KINDS, *moving.KINDS)

STARTS: tuple[Shape, ...] = (
    (),
    (3,),
    (2, 3),
    (3, 2),
    (1, 3),
    (2, 1),
    (3, 3),
    (1,),
    (2, 3, 2),
    (3, 1, 3),
    (2,),
    (0, 3),
    (1, 8),
    (8, 8),  # a weight, large beside what is multiplied by it
)


def build(
    starts: Sequence[tuple[int, int]],
    steps: Sequence[tuple[int, int, int]],
    seed: int = 0,
) -> Program:
    """The program that these numbers mean; any numbers mean one.

    Args:
        starts: (number of a shape in STARTS, kind of start) for each start.
        steps: (kind, place of the first operand, all other choices) for each operation.
        seed: of the values.
    """
    begin = [
        _start(i, STARTS[which % len(STARTS)], kind, seed)
        for i, (which, kind) in enumerate(starts)
    ]
    draft = Draft(begin)
    for kind, place, number in steps:
        add = KINDS[kind % len(KINDS)]
        if not any(add(draft, x, Choices(number)) for x in draft.near(place)):
            KINDS[0](draft, draft.near(place)[0], Choices(0))  # it fits none of these
    return draft.finish(Choices(seed * 7919 + 1))


def _start(i: int, shape: Shape, kind: int, seed: int) -> Start:
    low, high = (0.5, 2.0) if kind % 2 else (-1.5, 1.5)
    return Start(shape, low, high, (seed, i), constant=i > 0 and kind >= 4)


def programs(least: int = 20, most: int = 200) -> SearchStrategy[Program]:
    """Programs of `least` to `most` operations, with sharing; smaller ones at times.

    Leaves and constants of a few shapes (0-d, broadcasting, empty), then operations on
    earlier values, chosen so that chains grow long and some values are used many times.
    One in ten may be shorter than `least`: to these a failure shrinks, down to a line.
    """
    from hypothesis import strategies as st

    small = st.integers(0, 1023)
    step = st.tuples(st.integers(0, len(KINDS) - 1), small, st.integers(0, 2**24 - 1))
    middle = (least + most) // 2
    lengths = [(1, most), (least, middle), (least, most), (middle, most)]
    lists = [st.lists(step, min_size=low, max_size=high) for low, high in lengths]
    # The first, which may be short, one time in ten.
    steps = st.integers(0, 9).flatmap(lambda i: lists[1 + i % 3 if i else 0])
    start = st.tuples(st.integers(0, len(STARTS) - 1), st.integers(0, 5))
    starts = st.lists(start, min_size=1, max_size=6)
    return st.builds(build, starts, steps, st.integers(0, 1023))
