"""What a step takes from outside: each of these once gave a wrong result in silence."""

from __future__ import annotations

import copy
import functools
import math

import numpy as np
import pytest

import minigrad as mg
import nn

ONES = np.ones(2, np.float32)


def leaf(*values):
    return mg.Tensor(np.array(values, np.float32), requires_grad=True)


def plain(*values):
    return mg.Tensor(np.array(values, np.float32))


def both(function, *calls):
    """The results of some calls, compiled and not; `function()` gives the step."""
    steps = mg.compile(function()), function()
    return [[_numbers(step(*args)) for args in calls] for step in steps]


def _numbers(result):
    if isinstance(result, mg.Tensor):
        return result.detach().numpy().tolist()
    return [_numbers(part) for part in result]


# -- gradients ---------------------------------------------------------------------


def test_a_gradient_from_outside_is_refused():
    w = leaf(1, 2)
    optimizer = nn.SGD([w], lr=0.1)
    step = mg.compile(optimizer.step)
    (w * 3).sum().backward()
    with pytest.raises(mg.CompileError, match="computed outside"):
        step()


def test_a_parameter_that_gets_a_gradient_later_is_seen():
    w, b = leaf(1), leaf(2)
    optimizer = nn.SGD([w, b], lr=1.0)

    @mg.compile
    def step():
        w.zero_grad()
        (w * 2).sum().backward()
        optimizer.step()

    step()
    (b * 5).sum().backward()
    with pytest.raises(mg.CompileError, match="computed outside"):
        step()
    assert b.item() == 2


def test_a_parameter_that_was_frozen_and_is_free_again():
    w = leaf(1, 2)

    @mg.compile
    def step():
        w.zero_grad()
        (w * 2).sum().backward()

    step()
    w.requires_grad = False
    w.requires_grad = True
    step()
    assert w.grad.numpy().tolist() == [2, 2]


def test_an_update_follows_what_is_frozen():
    w, u = leaf(1), leaf(1)
    optimizer = nn.SGD([w, u], lr=1.0)
    step = mg.compile(lambda g: optimizer.update([g, g]))
    u.requires_grad = False
    step(plain(1))
    u.requires_grad = True
    step(plain(1))
    assert [w.item(), u.item()] == [-1, 0]


def test_the_gradient_of_an_argument_is_returned_and_not_assigned():
    def assigned(x):
        (x * x).sum().backward()

    with pytest.raises(mg.CompileError, match="grad of an argument"):
        mg.compile(assigned)(leaf(1, 2))

    def fgsm():
        def step(x):
            x = x.detach()
            x.requires_grad = True
            (x * x).sum().backward()
            return x.grad

        return step

    ours, theirs = both(fgsm, (plain(1, 2),), (plain(3, 4),))
    assert ours == theirs == [[2, 4], [6, 8]]


def test_the_past_of_an_argument_is_refused():
    w = leaf(1, 2)

    @mg.compile
    def step(h):
        w.zero_grad()
        h.sum().backward()

    with pytest.raises(mg.CompileError, match="computed before it"):
        step(w * 2)


def test_an_input_that_is_not_reached_has_zeros():
    w, u = leaf(1, 2), leaf(3, 4)
    step = mg.compile(lambda: mg.grad((w * w).sum(), [w, u]))
    for _ in range(2):
        assert _numbers(step()) == [[2, 4], [0, 0]]


def test_a_hook_that_comes_later_is_seen():
    w = leaf(1, 2)
    step = mg.compile(lambda: mg.grad((w * w).sum(), w))
    step()
    w.register_hook(lambda g: g * 0)
    with pytest.raises(mg.CompileError, match="gradient hook"):
        step()


# -- arguments ---------------------------------------------------------------------


def test_an_array_in_the_closure_is_not_the_argument_that_it_was_once():
    x0 = np.array([1, 2], np.float32)
    for step in (lambda x: x - x0, lambda x: x * x0[:1]):
        with pytest.raises(mg.CompileError, match="was not computed"):
            mg.compile(step)(x0)


def test_an_argument_that_is_a_parameter_in_a_later_call():
    w = leaf(5, 6)
    step = mg.compile(lambda x: mg.grad((x * w * w).sum(), [x, w]))
    assert _numbers(step(leaf(1, 2))) == [[25, 36], [10, 24]]
    assert _numbers(step(w)) == [[75, 108], [75, 108]]


def test_memory_that_two_inputs_share_is_read_again_after_a_write():
    flat = leaf(1, 2, 3, 4)
    part = mg.asarray(flat.detach().numpy()[:2])
    optimizer = nn.SGD([flat], lr=1.0)

    @mg.compile
    def step(x):
        before = (part * x).sum()
        optimizer.update([mg.ones((4,))])
        return before - (part * x).sum()

    assert [float(step(plain(1, 1))) for _ in range(2)] == [2, 2]


@pytest.mark.parametrize("values", [(0.0, -0.0), (1, 1.0), (True, 1)])
def test_numbers_that_are_equal_are_not_the_same(values):
    def function():
        return lambda x, n: (
            x * (math.copysign(1, n) if n == 0 else 1) * float(type(n) is int)
        )

    calls = [(plain(1, 2), n) for n in values]
    ours, theirs = both(function, *calls)
    assert ours == theirs


def test_arguments_that_cannot_be_hashed_all_through():
    step = mg.compile(lambda x, key: x * len(key[0]))
    key = ([1, 2],)
    assert step(plain(1, 2), key).numpy().tolist() == [2, 4]
    frozen = functools.partial(min, [1])  # hashable, whatever it holds
    step(plain(1, 2), (frozen.args,))


def test_a_tensor_is_asked_for_as_an_array():
    step = mg.compile(lambda x: mg.asarray(x) * 2)
    for _ in range(2):
        assert step(ONES).numpy().tolist() == [2, 2]


# -- what is around ----------------------------------------------------------------

SCALE = 2.0


def test_names_of_the_closure_and_the_module_are_looked_up(monkeypatch):
    by, w = 3.0, leaf(1, 2)

    @mg.compile
    def step(x):
        return x * by * SCALE * w.detach()

    assert step(ONES).numpy().tolist() == [6, 12]
    by, w = 5.0, leaf(10, 20)
    assert step(ONES).numpy().tolist() == [100, 200]
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    assert step(ONES).numpy().tolist() == [50, 100]
    assert len(step.recordings) == 3


class Layer(nn.Module):
    def __init__(self):
        self.W = nn.Parameter(ONES)
        self.by = 1.0

    def forward(self, x):
        return self.W * x * self.by


def test_attributes_of_a_module_are_looked_up():
    layer = Layer()
    step = mg.compile(lambda x: layer(x))
    assert step(ONES).detach().numpy().tolist() == [1, 1]
    layer.by = 3.0
    assert step(ONES).detach().numpy().tolist() == [3, 3]
    layer.W = nn.Parameter(ONES * 2)
    assert step(ONES).detach().numpy().tolist() == [6, 6]
    layer.eval()
    layer.train()
    step(ONES)
    assert len(step.recordings) == 3


def test_a_module_that_keeps_something_is_refused():
    class Keeps(nn.Module):
        def forward(self, x):
            self.last = x * 2
            return self.last

    with pytest.raises(mg.CompileError, match="assigning last"):
        mg.compile(Keeps())(ONES)


def test_draws_that_no_primitive_makes_are_refused():
    generator = mg.Generator(0)
    step = mg.compile(lambda x: x * float(generator.uniform()))
    with pytest.raises(RuntimeError, match="generator"):
        step(ONES)


def test_a_refusal_is_not_swallowed():
    def step(x):
        try:
            scale = float(x.sum())
        except Exception:
            scale = 1.0
        return x * scale

    with pytest.raises(mg.CompileError, match="are read"):
        mg.compile(step)(ONES)


def test_ids_are_checked_in_every_run():
    step = mg.compile(lambda ids: mg.one_hot(ids, 3))
    step(np.array([0, 1]))
    with pytest.raises(IndexError, match="from 1 to 7"):
        step(np.array([7, 1]))


@pytest.mark.parametrize("kind", [nn.Adam, functools.partial(nn.SGD, momentum=0.9)])
def test_an_optimiser_may_begin_again(kind):
    w = leaf(1, 2)
    optimizer = kind([w], lr=0.1)
    first = optimizer.state_dict()
    step = mg.compile(lambda: optimizer.update(mg.grad((w * w).sum(), [w])))
    step()
    after = w.numpy().copy()
    w.data = np.array([1, 2], np.float32)
    optimizer.load_state_dict(first)
    step()
    np.testing.assert_array_equal(w.numpy(), after)


def test_a_refused_step_leaves_no_state_in_the_optimiser():
    w = leaf(1, 2)
    optimizer = nn.Adam([w])
    before = optimizer.state_dict()

    def step():
        optimizer.update(mg.grad((w * w).sum(), [w]))
        return w.detach().sum().item()

    with pytest.raises(mg.CompileError):
        mg.compile(step)()
    assert optimizer.state_dict() == before
    optimizer.load_state_dict(before)


# -- primitives of one's own -------------------------------------------------------


@mg.primitive(lambda g: g)
def limited(a):
    return a if a.max() < 1 else a * 0 + 1


@mg.primitive()
def look(a, *, table):
    return np.asarray(table, np.float32)[:2] * a


@mg.primitive(writes=("a",))
def fill(a, b):
    a[...] = b
    return a


def test_a_result_that_may_be_the_operand():
    def function():
        return lambda x: mg.exp(limited(mg.tanh(x)) + mg.sin(x)) * limited(mg.tanh(x))

    calls = [(plain(9, 9),), (plain(0.1, 0.2),), (plain(9, 9),)]
    ours, theirs = both(function, *calls)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_settings_are_compared_by_value():
    tables = tuple(range(2000)), (*range(1999), 5)

    def function():
        return lambda x: look(x, table=tables[0]) + look(x, table=tables[1][::-1])

    ours, theirs = both(function, (plain(1, 2),), (plain(3, 4),))
    assert ours == theirs


def test_a_primitive_that_writes_into_what_the_step_has_made():
    def function():
        return lambda x: mg.tanh(fill(mg.exp(x), x) + 1) * 2

    ours, theirs = both(function, (plain(1, 2),), (plain(3, 4),))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_primitive_without_a_name():
    double = mg.primitive(lambda g: g * 2)(lambda a: a * 2)
    step = mg.compile(lambda x: double(x))
    for _ in range(2):
        assert step(ONES).numpy().tolist() == [2, 2]


# -- as an object ------------------------------------------------------------------


def test_a_compiled_partial_and_module_can_be_printed():
    step = mg.compile(functools.partial(mg.multiply, 2.0))
    assert "0 recordings" in repr(step)
    step(plain(1, 2))
    assert "multiply" in str(step.program())
    with pytest.raises(RuntimeError, match="Call it first"):
        mg.compile(nn.Linear(2, 2)).program()


def test_a_method_has_what_a_function_has():
    class Doubles:
        @mg.compile
        def double(self, x):
            return x * 2

    doubles = Doubles()
    assert doubles.double.measure(ONES).numpy().tolist() == [2, 2]
    assert "multiply" in str(doubles.double.program())


def test_an_object_with_a_compiled_step_can_be_copied():
    class Trainer:
        def __init__(self):
            self.by = 2.0
            self.step = mg.compile(self.plain)

        def plain(self, x):
            return x * self.by

    trainer = Trainer()
    trainer.step(ONES)
    copied = copy.deepcopy(trainer)
    copied.by = 3.0
    assert copied.step(ONES).numpy().tolist() == [3, 3]


def test_measuring_is_one_call():
    w = leaf(1)
    optimizer = nn.SGD([w], lr=1.0)
    step = mg.compile(lambda: optimizer.update([mg.ones((1,))]))
    step.measure()
    step.measure()
    assert w.item() == -1


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(2, padding=1),
        nn.SinusoidalPositions(4),
        nn.MaxPool2d(2),
        nn.Conv2d(2, 3, 3, padding=1),
    ],
)
def test_every_layer_can_be_compiled(layer):
    step = mg.compile(lambda x: layer(x))
    for seed in range(2):
        x = np.random.default_rng(seed).standard_normal((1, 2, 4, 4), np.float32)
        np.testing.assert_allclose(step(x).numpy(), layer(mg.Tensor(x)).numpy(), 1e-5)


def test_forward_mode_in_a_step():
    step = mg.compile(lambda x: mg.jvp(lambda z: mg.exp(z), [x], [mg.ones((2,))])[1])
    for x in (plain(1, 2), plain(3, 4)):
        np.testing.assert_allclose(step(x).numpy(), np.exp(x.numpy()), 1e-6)
