"""Are whole programs differentiated rightly, in every way of asking?

The right answer comes from `Program.series`: power series in plain NumPy, which share
nothing with the tape.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import minigrad as mg
from tests.devices import put
from tests.minigrad.helpers import assert_close
from tests.support.draft import BOUND
from tests.support.programs import KINDS, build, programs
from tests.support.series import RULES

pytestmark = pytest.mark.usefixtures("device")
only_cpu = pytest.mark.only_cpu("what differs between devices is tested above")

seeds = st.integers(0, 1023)
short = programs(least=5, most=30)


def drawn(seed, shapes):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape) for shape in shapes]


def tangents(program, seed):
    return drawn(seed, [leaf.shape for leaf in program.leaves])


def cotangents(program, seed):
    still = [np.zeros(leaf.shape) for leaf in program.leaves]
    return drawn(seed + 5000, [y[0].shape for y in program.series(still, 0)])


def leaves_of(program):
    return [put(mg.Tensor(leaf, requires_grad=True)) for leaf in program.leaves]


def dot(left, right):
    return sum(float(np.sum(a * b)) for a, b in zip(left, right, strict=True))


def weighted(outputs, c):
    """<c, outputs> as a recorded number."""
    terms = [(y * put(weight)).sum() for y, weight in zip(outputs, c, strict=True)]
    return functools.reduce(lambda a, b: a + b, terms)


class Right:
    """The coefficient of t**order of <c, f(x + t v)>, and what rounding can do to it.

    The evaluation is repeated with each result disturbed by some units in the last
    place: how far that moves the number is how far rounding may have moved the tape's.
    """

    def __init__(self, program, c, v, order=1):
        def coefficient(noise=None):
            return [y[order] for y in program.series(v, order, noise)]

        exact = coefficient()
        self.value = dot(c, exact)
        others = [dot(c, coefficient(np.random.default_rng(i))) for i in range(4)]
        moved = max(abs(other - self.value) for other in others)
        size = dot(map(np.abs, c), map(np.abs, exact))
        # Values and directions are near 1; higher orders cancel more within one rule.
        self.floor = 1e-13 * 30 ** (order - 1)
        self.error = 50 * moved + self.floor * (1 + size)
        # A bound that lets everything pass would be no check.
        assert self.error < 1e-6 * (1 + size), f"{program} is too sensitive to rounding"

    def check(self, found, size=0.0):
        assert abs(found - self.value) <= self.error + self.floor * size, (
            f"the tape says {found!r}, the series {self.value!r} +- {self.error:.1g}"
        )


def check_products(right, gradients, v):
    """<J^T c, v> is <c, J v>."""
    found = [g.numpy() for g in gradients]
    right.check(dot(found, v), dot(map(np.abs, found), map(np.abs, v)))


# -- first order -------------------------------------------------------------------


@given(programs(), seeds)
def test_values_and_products_agree_with_the_series(program, seed):
    c, v = cotangents(program, seed), tangents(program, seed)
    leaves = leaves_of(program)
    outputs = program.run(*leaves)
    for y, series in zip(outputs, program.series(v, 0), strict=True):
        assert_close(y, series[0], 1e-9)
        assert y.shape == series[0].shape
    gradients = mg.grad(weighted(outputs, c), leaves)
    assert [g.shape for g in gradients] == [leaf.shape for leaf in leaves]
    check_products(Right(program, c, v), gradients, v)


@only_cpu
@given(programs(least=3, most=12), seeds)
def test_every_single_element_of_the_gradient_agrees(program, seed):
    c = cotangents(program, seed)
    leaves = leaves_of(program)
    gradients = mg.grad(weighted(program.run(*leaves), c), leaves)
    for which, leaf in enumerate(program.leaves):
        for index in np.ndindex(leaf.shape):
            v = [np.zeros(other.shape) for other in program.leaves]
            v[which][index] = 1
            right = Right(program, c, v)
            right.check(float(gradients[which].numpy()[index]), 1)


# -- all ways to ask for it --------------------------------------------------------


def by_backward(program, c):
    leaves = leaves_of(program)
    weighted(program.run(*leaves), c).backward()
    return gathered(leaves)


def gathered(leaves, times=1):
    zeros = [np.zeros(leaf.shape) for leaf in leaves]
    return [
        put(mg.Tensor(z)) if leaf.grad is None else leaf.grad / times
        for z, leaf in zip(zeros, leaves, strict=True)
    ]


def by_backward_twice(program, c):
    leaves = leaves_of(program)
    total = weighted(program.run(*leaves), c)
    total.backward(retain_graph=True)
    total.backward()
    return gathered(leaves, 2)


def output_by_output(program, c):
    leaves = leaves_of(program)
    for y, weight in zip(program.run(*leaves), c, strict=True):
        if y.requires_grad:
            y.backward(weight, retain_graph=True)
    return gathered(leaves)


def by_recorded_grad(program, c):
    leaves = leaves_of(program)
    total = weighted(program.run(*leaves), c)
    return mg.grad(total, leaves, create_graph=True)


def by_vjp(program, c):
    leaves = leaves_of(program)
    _, pull = mg.vjp(lambda *leaves: weighted(program.run(*leaves), c), *leaves)
    return pull(1.0)


def with_hooks(program, c):
    """Hooks everywhere that change nothing, so that every gradient is shown."""
    leaves = leaves_of(program)
    values = program.begin(*leaves)
    shown = []
    for i in range(len(program.steps)):
        program.advance(values, i, i + 1)
        for made in program.steps[i].makes:
            if values[made].requires_grad:
                values[made].register_hook(shown.append)
    total = weighted([values[i] for i in program.outputs], c)
    total.backward()
    return gathered(leaves)


def watched(mode):
    def ask(program, c):
        with mode():
            return by_backward(program, c)

    return ask


WAYS = {
    "backward": by_backward,
    "backward twice": by_backward_twice,
    "output by output": output_by_output,
    "grad with create_graph": by_recorded_grad,
    "vjp": by_vjp,
    "hooks": with_hooks,
    "record_lines": watched(mg.record_lines),
    "profile": watched(mg.profile),
    "detect_anomaly": watched(mg.detect_anomaly),
}


def reaches(program):
    return any(y.requires_grad for y in program.run(*leaves_of(program)))


@only_cpu
@given(programs(least=20, most=60), seeds)
def test_every_way_to_ask_gives_that_gradient(program, seed):
    if not reaches(program):  # the outputs are constants
        return
    c, v = cotangents(program, seed), tangents(program, seed)
    right = Right(program, c, v)
    for name, ask in WAYS.items():
        try:
            check_products(right, ask(program, c), v)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@only_cpu
@given(programs(least=20, most=80), seeds, seeds, seeds)
def test_a_checkpointed_stretch_changes_nothing(program, seed, first, last):
    count = len(program.steps)
    first, last = sorted((first % count, last % (count + 1)))
    c, v = cotangents(program, seed), tangents(program, seed)
    leaves = leaves_of(program)
    values = program.begin(*leaves)
    program.advance(values, 0, first)
    checkpoint_stretch(program, values, first, last)
    program.advance(values, last, count)
    total = weighted([values[i] for i in program.outputs], c)
    check_products(Right(program, c, v), mg.grad(total, leaves), v)


def checkpoint_stretch(program, values, first, last):
    stretch = program.steps[first:last]
    makes = [i for step in stretch for i in step.makes]
    reads = sorted({i for step in stretch for i in step.operands} - set(makes))

    def run(*operands):
        inside = dict(zip(reads, operands, strict=True))
        program.advance(inside, first, last)
        return [inside[i] for i in makes]

    if makes:
        parts = mg.checkpoint(run)(*(values[i] for i in reads))
        values.update(zip(makes, parts, strict=True))


@only_cpu
@given(short, seeds)
def test_forward_mode_from_two_backwards_agrees(program, seed):
    c, v = cotangents(program, seed), tangents(program, seed)
    if not reaches(program):
        return
    _, pushed = mg.jvp(lambda *x: weighted(program.run(*x), c), program.leaves, v)
    Right(program, c, v).check(pushed.item())


# -- higher orders -----------------------------------------------------------------


def recorded_slope(number, leaves, v):
    gradients = mg.grad(number, leaves, create_graph=True)
    return weighted(gradients, v)


@given(short, seeds)
def test_gradients_of_gradients_agree(program, seed):
    """U H v, in two ways: the tape's, and (q(u + v) - q(u - v)) / 4 of the series'."""
    c = cotangents(program, seed)
    u, v = tangents(program, seed), tangents(program, seed + 1)
    leaves = leaves_of(program)
    slope = recorded_slope(weighted(program.run(*leaves), c), leaves, u)
    gradients = mg.grad(slope, leaves)
    together = Right(program, c, [a + b for a, b in zip(u, v, strict=True)], 2)
    apart = Right(program, c, [a - b for a, b in zip(u, v, strict=True)], 2)
    together.value = (together.value - apart.value) / 2  # 2 c2 is q
    together.error = together.error + apart.error
    check_products(together, gradients, v)


@only_cpu
@given(programs(least=3, most=15), seeds)
def test_third_derivatives_agree(program, seed):
    c, v = cotangents(program, seed), tangents(program, seed)
    leaves = leaves_of(program)
    number = weighted(program.run(*leaves), c)
    for _ in range(2):
        number = recorded_slope(number, leaves, v)
    gradients = mg.grad(number, leaves)
    right = Right(program, c, v, 3)
    right.value, right.error = 6 * right.value, 6 * right.error
    check_products(right, gradients, v)


# -- the programs themselves -------------------------------------------------------


def numbers(seed, count):
    random = np.random.default_rng(seed)
    starts = random.integers(0, 14, (4, 2)).tolist()
    steps = [
        (int(random.integers(len(KINDS))), *map(int, random.integers(0, (1024, 2**24))))
        for _ in range(count)
    ]
    return starts, steps, seed


@pytest.fixture(scope="module")
def many():
    return [build(*numbers(seed, 150)) for seed in range(20)]


@only_cpu
def test_every_kind_of_operation_occurs(many):
    assert {step.kind for program in many for step in program.steps} == set(RULES)


@only_cpu
def test_programs_share_and_run_deep(many):
    for program in many:
        operands = [i for step in program.steps for i in step.operands]
        assert max(operands.count(i) for i in set(operands)) >= 3
        depth = dict.fromkeys(range(len(program.starts)), 0)
        for step in program.steps:
            deep = 1 + max(depth[i] for i in step.operands)
            depth.update(dict.fromkeys(step.makes, deep))
        assert max(depth.values()) >= 12
    pairs = [s.operands for p in many for s in p.steps if len(s.operands) > 1]
    assert any(a == b for a, b, *_ in pairs)


@only_cpu
def test_values_stay_bounded(many):
    for program in many:
        still = [np.zeros(leaf.shape) for leaf in program.leaves]
        for y in program.series(still, 0):
            assert np.abs(y[0]).max(initial=0) < 200


@only_cpu
def test_a_printed_program_runs_and_gives_the_same(many):
    for program in many[:5]:
        names = {}
        exec(str(program), names)
        for y, shown in zip(
            program.run(*leaves_of(program)), names["outputs"], strict=True
        ):
            assert (y.numpy() == shown.numpy()).all()


@only_cpu
def test_a_failure_shrinks_to_a_line_or_two():
    def fails(program):
        return any(step.kind == "matmul" for step in program.steps)

    quick = settings(
        database=None, derandomize=True, phases=[Phase.generate, Phase.shrink]
    )
    found = find(programs(least=5, most=40), fails, settings=quick)
    assert len(found.steps) <= 2
    assert len(found.starts) == 1


@only_cpu
@given(programs())
def test_large_values_are_brought_down_before_they_are_used(program):
    """A function of a large value could overflow."""
    values = program.begin(*leaves_of(program))
    program.advance(values, 0, len(program.steps))
    for step in program.steps:
        if step.kind not in ("scale", "tanh"):
            largest = [np.abs(values[x].numpy()).max(initial=0) for x in step.operands]
            assert max(largest) < BOUND + 1e-9, step


@only_cpu
def test_most_programs_are_as_long_as_was_asked():
    lengths = []

    @settings(max_examples=50, derandomize=True, database=None, deadline=None)
    @given(programs())
    def collect(program):
        lengths.append(len(program.steps))

    collect()
    assert np.mean(np.array(lengths) >= 20) > 0.5
    assert max(lengths) > 100
