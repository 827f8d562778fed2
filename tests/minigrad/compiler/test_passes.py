"""Each pass by itself: it finds what it is for, and changes no result."""

from __future__ import annotations

import functools
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad.compiler import buffers, compiled, lowering, passes, program
from minigrad.compiler.passes import common, constants, dead, products
from tests.minigrad.compiler.test_programs import leaves, others, step_of
from tests.minigrad.helpers import assert_close
from tests.support.programs import programs

PASSES = list(dict.fromkeys(passes.PASSES))
ALL = (*PASSES, lambda p: p)  # the last: buffers alone


def compile_with(function, *only):
    """A compiled step that these passes alone have changed."""

    def optimize(one):
        return functools.reduce(lambda p, change: change(p), only, one), []

    step = mg.compile(function)

    def call(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "optimize", optimize)
            return step(*args)

    call.program = step.program
    return call


@pytest.mark.parametrize("one", ALL)
@given(program=programs(), seed=st.integers(0, 1023))
def test_a_pass_alone_changes_no_result(one, program, seed):
    step = step_of(program)
    changed = compile_with(step, one)
    changed(*leaves(program.leaves))
    arrays = others(program, seed)
    found, expected = changed(*leaves(arrays)), step(*leaves(arrays))
    for ours, right in zip(chain(*found), chain(*expected), strict=True):
        assert_close(ours, right.numpy(), 1e-9)


# -- the work that each is for -----------------------------------------------------

W = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def twice(x):
    return mg.exp(x) * mg.exp(x)


def unread(x):
    mg.exp(x)
    return mg.log(x)


def zeros_added(x):
    return x + mg.zeros((4, 3)) * 2


def weight_used_often(x):
    w = mg.tanh(x[:3])
    h = x
    for _ in range(5):
        h = mg.tanh(h @ w)
    return mg.grad((h * h).sum(), w)


FOR = {
    dead.remove_dead: (unread, 1),
    constants.fold_constants: (zeros_added, 2),
    common.merge_common: (twice, 1),
    products.join_products: (weight_used_often, 4),
}


@pytest.mark.parametrize("one", PASSES)
def test_a_pass_finds_what_it_is_for(one):
    function, fewer = FOR[one]
    x = mg.Tensor(np.abs(W) + 0.1, requires_grad=True)
    sizes = []
    for change in (lambda p: p, one):
        step = compile_with(function, change)
        step(x)
        sizes.append(len(step.program().body))
        assert_close(step(x), function(x).numpy(), 1e-6)
    assert sizes[0] - sizes[1] >= fewer


def memory_of(function, *args):
    step = mg.compile(function)
    step(*args)
    return step.program().replay.plan


def test_buffers_are_used_again():
    def chain_of(x):
        for _ in range(20):
            x = mg.tanh(x)
        return x + 1

    assert memory_of(chain_of, mg.Tensor(W)).nbytes == W.nbytes


def test_the_programs_of_a_step_share_their_memory():
    def chain_of(x):
        return mg.tanh(mg.tanh(x)) + 1

    step = mg.compile(chain_of)
    for rows in (4, 3, 2, 1):
        x = np.ones((rows, 1000), np.float32)
        assert_close(step(mg.Tensor(x)), chain_of(mg.Tensor(x)).numpy(), 1e-6)
    assert len(step.recordings) == 4
    assert step._memory.block.size == 4 * 1000 * 4
    replays = [known.replay for known in step.recordings]
    blocks = [array for replay in replays for array in replay.plan.arrays.values()]
    assert all(np.shares_memory(block, step._memory.block) for block in blocks)


def test_parts_are_computed_where_they_are_joined():
    plan = memory_of(
        lambda x: mg.exp(mg.concatenate([mg.tanh(x), mg.sin(x)], axis=1)), mg.Tensor(W)
    )
    assert plan.nbytes == 2 * W.nbytes
    assert (
        sum(
            np.shares_memory(a, b)
            for a in plan.arrays.values()
            for b in plan.arrays.values()
            if a is not b
        )
        == 4
    )


# -- broken on purpose -------------------------------------------------------------


@mg.primitive(writes=("a",))
def count(a):
    a += 1
    return np.zeros(1)


def lstm_step():
    generator = mg.Generator(0)
    layer = nn.LSTM(3, 4, generator=generator)
    optimizer = nn.Adam(layer.parameters(), lr=0.1)
    counter = mg.Tensor([1.0, 2.0])
    square = mg.Tensor(generator.normal((3, 3)))

    def step(x):
        h, _ = layer(mg.dropout(x, 0.2, generator=generator))
        squares = (mg.exp(h) * mg.exp(h)).sum()
        loss = (h * h).sum() + mg.grad(squares, h, retain_graph=True).sum()
        before = (counter * 2).sum()
        optimizer.update(mg.grad(loss, optimizer.params))
        count(counter)
        after = (counter * 2).sum()
        sums = [(mg.sum(h, axis=axis) ** 2).sum() for axis in (0, 1)]
        turned = mg.exp(mg.tanh(x[:, 0]) @ square)
        return loss, before, after, h * mg.zeros(1), turned, *sums

    return step


def figures(compile_it):
    step = compile_it(lstm_step())
    x = np.linspace(-1, 1, 30, dtype=np.float32).reshape(2, 5, 3)
    return [part.detach().numpy().copy() for _ in range(4) for part in step(x)]


def agree():
    expected = figures(lambda step: step)
    try:
        with np.errstate(all="ignore"):
            found = figures(mg.compile)
    except (ValueError, TypeError, IndexError, NameError):
        return False
    return all(
        np.allclose(a, b, rtol=1e-4, atol=1e-5)
        for a, b in zip(found, expected, strict=True)
    )


def without_versions(instruction, versions):
    return key(instruction, {})


def without_settings(instruction, versions):
    return key(instruction, versions)[:2]


def one_term_less(uses, last):
    terms, inner = terms_of(uses, last)
    return terms[1:], inner


def ends_early(self):
    return {n: place - 1 for n, place in last_uses(self).items()}


def mixed_partners(program, last, terms):
    pairs = [term for term in terms if isinstance(term, products.Product)]
    changed = [
        products.Product(term.left, other.right)
        for term, other in zip(pairs, pairs[::-1], strict=True)
    ]
    return sum_of(program, last, changed)


key, terms_of, sum_of = common._key, products._terms_of, products._sum_of
last_uses = program.Program.last_uses

BROKEN = {
    "dead code: updates are dropped": (
        program.Instruction,
        "has_effect",
        property(lambda self: False),
    ),
    "constants: another value": (
        constants,
        "_results",
        lambda i: {n: program.Literal(np.float32(3)) for n in i.gives},
    ),
    "common: writes change nothing": (common, "_key", without_versions),
    "common: settings are not compared": (common, "_key", without_settings),
    "products: a term is lost": (products, "_terms_of", one_term_less),
    "products: factors change partners": (products, "_sum_of", mixed_partners),
    "buffers: values end too early": (program.Program, "last_uses", ends_early),
    "buffers: all parts lie in the first place": (
        buffers,
        "part_of",
        lambda join, whole, sizes, i: lowering.part_of(join, whole, sizes, 0),
    ),
}


def test_nothing_is_broken_to_begin_with():
    assert agree()


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_pass_is_caught(what, monkeypatch):
    monkeypatch.setattr(*BROKEN[what])
    assert not agree()


# -- lowerings ---------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((2, 3, 0), (0, 4)), ((2, 0, 3), (3, 4))])
def test_a_product_of_nothing_is_zeros(shapes):
    arrays = [np.ones(shape, np.float32) for shape in shapes]
    step = mg.compile(lambda a, b: (a @ b) * 2 + 1)
    for _ in range(2):
        np.testing.assert_array_equal(
            step(*arrays).numpy(), (arrays[0] @ arrays[1]) + 1
        )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("primitive", lowering.LOWERINGS, ids=lambda p: p.name)
def test_a_lowering_computes_what_the_forward_does(primitive, dtype):
    random = np.random.default_rng(0)
    count = len(primitive.operand_names)
    operands = [random.uniform(0.1, 1, (5, 5)).astype(dtype) for _ in range(count)]
    if primitive.name.startswith("logical"):
        operands = [x > 0.5 for x in operands]
    if primitive.name == "masked":
        operands[1] = operands[1] > 0.5
    expected = primitive.forward(*operands)
    names = {"out": np.empty_like(expected)}

    def name(prefix, thing):
        names[f"{prefix}{id(thing)}"] = thing
        return f"{prefix}{id(thing)}"

    given = [name("x", x) for x in operands]
    exec("\n".join(lowering.LOWERINGS[primitive].lines(name, given, "out")), names)
    np.testing.assert_array_equal(names["out"], expected)
