"""The compiled updates: the same bits as NumPy's passes, wherever they are taken."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.compiler import choice
from nn import fast
from nn.updates import adam_update

pytest.importorskip("numba", reason="Numba is not installed: nothing is compiled")
PLAIN = adam_update.primitive.forward
SETTINGS = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
DECAYS = [(0.0, False), (0.1, False), (0.1, True)]


def operands(shape, dtype, seed=0):
    random = np.random.default_rng(seed)
    p, g = (random.standard_normal(shape).astype(dtype) for _ in range(2))
    wide = np.promote_types(dtype, np.float32)
    m, v = (random.random(p.size).astype(wide) for _ in range(2))
    return p, g, np.array(4), np.array(0.01), m, v


def turned(given):
    """The same parameter in column-major order."""
    return np.asfortranarray(given[0]), *given[1:]


@pytest.mark.parametrize("change", [lambda given: given, turned])
@pytest.mark.parametrize(("decay", "decoupled"), DECAYS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3, 5), (0, 2)])
def test_the_loop_gives_the_same_bits(shape, dtype, decay, decoupled, change):
    settings = {**SETTINGS, "weight_decay": decay, "decoupled": decoupled}
    ours, theirs = (change(operands(shape, dtype)) for _ in range(2))
    for forward, given in ((fast.make_adam(), ours), (PLAIN, theirs)):
        assert forward(*given, **settings) is given[0]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_threads_share_a_large_parameter(cores, monkeypatch):
    monkeypatch.setattr(fast, "usable_cores", lambda: cores)
    monkeypatch.setattr(fast, "CHUNK", 100)
    settings = {**SETTINGS, "weight_decay": 0.0, "decoupled": False}
    ours, theirs = operands((1001,), "float32"), operands((1001,), "float32")
    fast.make_adam()(*ours, **settings)
    PLAIN(*theirs, **settings)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_numba_nothing_is_offered(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert fast.make_adam() is None


@pytest.mark.parametrize("faster", [True, False])
def test_the_faster_of_two_is_taken(faster, monkeypatch):
    taken = []

    def other(*args, **settings):
        taken.append(1)
        return PLAIN(*args, **settings)

    def seconds(program, instruction, forward):
        return float((forward is other) is not faster)

    monkeypatch.setitem(choice._offers, adam_update.primitive, lambda: other)
    monkeypatch.setattr(choice, "_seconds", seconds)
    w = mg.Tensor([1.0, 2.0], requires_grad=True)
    optimizer = nn.Adam([w])
    step = mg.compile(lambda: optimizer.update(mg.grad((w * w).sum(), [w])))
    step()
    step()
    assert bool(taken) is faster
