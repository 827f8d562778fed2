"""Generated programs, compiled and not: values and gradients are the same."""

from __future__ import annotations

import functools
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from tests.devices import put
from tests.minigrad.helpers import assert_close
from tests.support.programs import programs

pytestmark = pytest.mark.usefixtures("device")

seeds = st.integers(0, 1023)


def others(program, seed):
    """Leaves of the program's shapes and signs, with other values."""
    random = np.random.default_rng(seed)
    return [
        leaf * random.uniform(0.99, 1.01, leaf.shape).astype(leaf.dtype)
        for leaf in program.leaves
    ]


def step_of(program):
    """A step that gives outputs, and the gradients of their weighted sum."""
    before = program.begin(*leaves(program.leaves))
    places = [i for i, start in enumerate(program.starts) if not start.constant]

    def step(*given):
        values = {**before, **dict(zip(places, given, strict=True))}
        program.advance(values, 0, len(program.steps))
        outputs = [values[i] for i in program.outputs]
        parts = [(y * (0.5 + i)).sum() for i, y in enumerate(outputs)]
        total = functools.reduce(lambda a, b: a + b, parts)
        return outputs, mg.grad(total, list(given)) if total.requires_grad else []

    return step


def leaves(arrays):
    return [put(mg.Tensor(a, requires_grad=True)) for a in arrays]


@given(programs(), seeds)
def test_a_compiled_program_gives_what_it_gives_uncompiled(program, seed):
    step = step_of(program)
    compiled = mg.compile(step)
    compiled(*leaves(program.leaves))
    for arrays in (program.leaves, others(program, seed)):
        found = compiled(*leaves(arrays))
        expected = step(*leaves(arrays))
        for ours, right in zip(chain(*found), chain(*expected), strict=True):
            assert_close(ours, right.numpy(), 1e-9)
    assert len(compiled.recordings) == 1
