"""Does one walk find every gradient, at any depth, width and order?"""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given

import minigrad as mg
import nn
from minigrad.tape import Observer, Scope, writes
from minigrad.testing import arrays, shapes
from tests.devices import here, put
from tests.minigrad.helpers import (
    assert_close,
    assert_equal,
    assert_parts,
    leaf,
    live_entries,
    plain,
    work_of_backward,
)

pytestmark = pytest.mark.usefixtures("device")

LONG = 1_000_000


@pytest.fixture
def no_collector():
    """Reference counting alone: whatever a cycle holds stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# -- many uses and many paths ------------------------------------------------------


def test_a_tensor_used_many_times_collects_every_gradient():
    x = leaf([1.0, 2.0])
    total = x
    for _ in range(999):
        total = total + x
    total.sum().backward()
    assert_equal(x.grad, [1000, 1000])


def test_a_tensor_used_by_many_operations():
    x = leaf([0.5, 2.0])
    (x * x + x / x + x - x + x**2 + mg.exp(x)).sum().backward()
    assert_close(x.grad, 4 * x.numpy() + np.exp(x.numpy()))


def test_a_diamond_two_to_the_forty_paths_wide_takes_forty_steps():
    x = leaf(1.0)
    y = x
    for _ in range(40):
        y = y + y
    work = work_of_backward(y)
    assert_equal(x.grad, 2.0**40)
    assert len(work.walked) == 41  # the sum as well


def test_a_diamond_of_differing_sides_and_lengths():
    x = leaf(0.7)
    y = x
    for _ in range(40):
        y = mg.sin(y) + y * 0.5
    expected, slope = 0.7, 1.0
    for _ in range(40):
        slope *= np.cos(expected) + 0.5
        expected = np.sin(expected) + expected * 0.5
    y.backward()
    assert_close(x.grad, slope)


# -- depth -------------------------------------------------------------------------


def chain(x, length):
    for _ in range(length):
        x = x + 1.0
    return x


def test_a_chain_of_a_million_operations_walks_without_recursion(no_collector):
    x = leaf(1.0)
    y = chain(x, LONG)
    y.backward()
    assert_equal(y, LONG + 1.0)
    assert_equal(x.grad, 1.0)


def test_a_chain_of_a_million_operations_is_dropped_at_once(no_collector):
    before = live_entries()
    x = leaf(1.0)
    y = chain(x, LONG)
    assert y.entry.order - x.entry.order >= LONG
    del y
    assert live_entries() == before + 1


@pytest.mark.parametrize("order", [1, 2])
def test_a_chain_far_deeper_than_pythons_stack_is_differentiated_again(order):
    x = leaf(1.0)
    y = chain(x * x * x, 5 * sys.getrecursionlimit())
    slope = mg.grad(y, x, create_graph=True)
    found = slope if order == 1 else mg.grad(slope, x)
    assert_equal(found, 3.0 if order == 1 else 6.0)


# -- orders ------------------------------------------------------------------------

ORDERS = {
    "sin": (mg.sin, lambda x: [np.cos(x), -np.sin(x), -np.cos(x), np.sin(x)]),
    "exp": (mg.exp, lambda x: [np.exp(x)] * 4),
    "power": (
        lambda x: x**5,
        lambda x: [5 * x**4, 20 * x**3, 60 * x**2, 120 * x],
    ),
    "square": (lambda x: x * x, lambda x: [2 * x, 2 + 0 * x, 0 * x, 0 * x]),
    "tanh": (
        mg.tanh,
        lambda x: [
            1 - np.tanh(x) ** 2,
            -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
            (6 * np.tanh(x) ** 2 - 2) * (1 - np.tanh(x) ** 2),
            (16 * np.tanh(x) - 24 * np.tanh(x) ** 3) * (1 - np.tanh(x) ** 2),
        ],
    ),
}


@pytest.mark.parametrize("name", ORDERS)
@given(values=arrays(shapes(max_dims=2)))
def test_gradients_of_gradients_of_gradients(name, values):
    f, derivatives = ORDERS[name]
    x = leaf(values)
    y = f(x)
    for expected in derivatives(values):
        if not y.requires_grad:  # a constant slope has no tape
            assert_equal(plain(expected), np.zeros_like(values))
            break
        y = mg.grad(y.sum(), x, create_graph=True)
        assert_close(y, expected, 1e-10)


def test_a_recorded_gradient_takes_part_in_a_loss():
    """The penalty on a gradient's length, as in WGAN-GP."""
    x, w = leaf([1.0, -2.0]), leaf([0.5, 0.3])
    slope = mg.grad(mg.sin(x * w).sum(), x, create_graph=True)
    (slope * slope).sum().backward()
    X, W = x.numpy(), w.numpy()
    assert_close(x.grad, -2 * W**3 * np.cos(X * W) * np.sin(X * W))


# -- empty and single --------------------------------------------------------------


def test_a_number_is_a_tensor_without_axes():
    x = leaf(3.0)
    y = x * x
    assert y.shape == ()
    y.backward()
    assert x.grad.shape == ()
    assert type(x.grad.data) is type(x.data)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3, 0)])
def test_empty_arrays_go_through(shape):
    x = leaf(np.zeros(shape))
    y = mg.tanh(x * 2 + 1).reshape(-1) @ mg.ones(0, "float64", here())
    y.backward()
    assert_equal(x.grad, np.zeros(shape))


# -- who owns a gradient -----------------------------------------------------------


def share(*tensors):
    arrays = [t.data for t in tensors]
    return any(
        np.may_share_memory(a, b) for i, a in enumerate(arrays) for b in arrays[i + 1 :]
    )


HANDING_ON = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "reshape": lambda x, y: x.reshape(3, 1) + y.reshape(3, 1),
    "flip": lambda x, y: mg.flip(x) + y,
    "concatenate": lambda x, y: mg.concatenate([x, y]),
    "stack": lambda x, y: mg.stack([x, y]),
    "astype": lambda x, y: x.astype("float64") + y,
    "the same twice": lambda x, y: (x + y) + (x + y),
}


@pytest.mark.parametrize("name", HANDING_ON)
def test_gradients_of_leaves_share_no_memory(name):
    x, y = leaf([1.0, 2.0, 3.0]), leaf([4.0, 5.0, 6.0])
    z = HANDING_ON[name](x, y)
    seed = np.ones(z.shape)
    z.backward(seed)
    assert not share(x.grad, y.grad, plain(seed), x, y)
    x.grad.data[...] = 7
    assert 7 not in y.grad.numpy()
    assert 7 not in seed


@pytest.mark.parametrize("name", HANDING_ON)
def test_gradients_from_grad_share_no_memory(name):
    x, y = leaf([1.0, 2.0, 3.0]), leaf([4.0, 5.0, 6.0])
    z = HANDING_ON[name](x, y)
    seed = put(np.ones(z.shape))
    found = mg.grad(z, [x, y], seed)
    assert not share(*found, x, y)
    assert not any(np.may_share_memory(g.data, seed) for g in found)


def test_the_gradient_of_a_leaf_itself_is_a_copy_of_the_seed():
    x = leaf([1.0, 2.0])
    seed = put(np.ones(2))
    x.backward(seed)
    assert not np.may_share_memory(x.grad.data, seed)


def test_wanted_gradients_are_not_changed_by_the_rest_of_the_walk():
    x = leaf([1.0, 2.0])
    y = x * 3
    z = (y * 2 + y).sum() + (x * 5).sum()
    on_y, on_x = mg.grad(z, [y, x])
    assert_equal(on_y, [3, 3])
    assert_equal(on_x, [14, 14])


# -- accumulation, leaves, retained and freed tapes --------------------------------


def test_backward_adds_to_grad_and_keeps_old_ones_unharmed():
    x = leaf([1.0, 2.0])
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert_equal(x.grad, [5, 5])
    assert_equal(first, [2, 2])
    x.zero_grad()
    assert x.grad is None


def test_results_between_hold_no_grad():
    x = leaf(2.0)
    y = x * x
    (y * 3).backward()
    assert y.grad is None


def test_a_second_backward_says_what_to_do():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError) as caught:
        y.backward()
    assert_parts(caught.value, "multiply", "already freed", "retain_graph=True")


def test_a_second_backward_through_a_shared_stretch_is_an_error_too():
    x = leaf(2.0)
    shared = x * x
    (shared * 2).backward()
    with pytest.raises(RuntimeError, match="already freed at multiply"):
        (shared * 3).backward()


def test_retained_tapes_walk_again():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert_equal(x.grad, 18.0)
    with pytest.raises(RuntimeError, match="already freed"):
        y.backward()


def test_backward_frees_what_the_tape_kept():
    x = leaf(np.ones(4))
    h = mg.exp(x)
    y = (h * h).sum()
    kept = weakref.ref(h.data)
    del h
    assert kept() is not None
    y.backward()
    assert kept() is None


def test_no_grad_leaves_no_tape():
    x = leaf(2.0)
    with mg.no_grad():
        y = x * x
    assert not y.requires_grad
    assert (x * x).requires_grad


def test_detach_stops_gradients():
    x = leaf(3.0)
    (x.detach() * x).backward()
    assert_equal(x.grad, 3.0)


# -- hooks -------------------------------------------------------------------------


def test_a_hook_sees_the_complete_gradient_once():
    x = leaf([1.0, 2.0])
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.numpy().copy()))
    (y * 3 + y * 4).sum().backward()
    np.testing.assert_array_equal(seen, [[7, 7]])
    assert_equal(x.grad, [14, 14])


@pytest.mark.parametrize("how", ["backward", "grad", "create_graph"])
def test_a_hook_replaces_the_gradient(how):
    x = leaf([1.0, 2.0])
    y = x * x
    y.register_hook(lambda g: g * 10)
    if how == "backward":
        y.sum().backward()
        found = x.grad
    else:
        found = mg.grad(y.sum(), x, create_graph=how == "create_graph")
    assert_equal(found, [20, 40])


def test_hooks_run_in_the_order_of_registration():
    x = leaf(1.0)
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: g * 10)
    (x * 2).backward()
    assert_equal(x.grad, 30.0)


def test_hooks_on_parts_of_a_whole():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    first, second = x
    first.register_hook(lambda g: g * 5)
    (first + second).sum().backward()
    assert_equal(x.grad, [[5, 5], [1, 1]])


def test_a_hooks_own_tensor_is_not_kept_as_the_gradient():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    own = plain([9.0, 9.0])
    x.register_hook(lambda g: own)
    y.register_hook(lambda g: own)
    (x * y).sum().backward()
    assert not share(x.grad, y.grad, own)


@pytest.mark.parametrize("which", [0, 1])
def test_a_hook_that_writes_in_place_reaches_no_other_tensor(which):
    both = leaf([1.0, 2.0]), leaf([3.0, 4.0])

    def doubled(g):
        g *= 2
        return g

    both[which].register_hook(doubled)
    seed = np.ones(2)
    (both[0] + both[1]).backward(seed)
    assert_equal(both[which].grad, [2, 2])
    assert_equal(both[1 - which].grad, [1, 1])
    np.testing.assert_array_equal(seed, 1)


def test_a_hooks_dtype_does_not_change_the_gradients():
    x = leaf([1.0, 2.0], "float32")
    x.register_hook(lambda g: g.astype("float64"))
    (x * x).sum().backward()
    assert x.grad.dtype == np.float32


# -- linear time in T --------------------------------------------------------------

WIDTH = 8


def slices(x):
    return [x[:, t] for t in range(x.shape[1])]


READERS = {
    "x[:, t]": slices,
    "x[:, t:t+1]": lambda x: [x[:, t : t + 1] for t in range(x.shape[1])],
    "unstack": lambda x: mg.unstack(x, axis=1),
    "iteration": lambda x: list(mg.swapaxes(x, 0, 1)),
    "split": lambda x: mg.split(x, x.shape[1], axis=1),
    "take": lambda x: [mg.take(x, [t], axis=1) for t in range(x.shape[1])],
    "x[ids]": lambda x: [x[:, np.array([t, t])] for t in range(x.shape[1])],
}


class Sizes(Observer):
    """Notes how many numbers each call makes, those of rules included."""

    on_arrays = True

    def __init__(self):
        self.made = []

    def called(self, call, entry, seconds):
        self.made.append(sum(np.size(result) for result in call.results))


@pytest.fixture
def made():
    """How many numbers each primitive's forward has made since the start."""
    with Scope(observer=Sizes()) as sizes:
        yield sizes.made


def numbers_of_backward(read, steps, made):
    """Numbers made by backward through `steps` slices, each read `copies` times."""
    x = leaf(np.ones((1, steps, WIDTH)))
    parts = [mg.tanh(part).sum() for part in read(x)]
    total = mg.stack(parts).sum()
    made.clear()
    total.backward()
    copies = 2 if read is READERS["x[ids]"] else 1
    assert_close(x.grad, np.full(x.shape, copies * (1 - np.tanh(1.0) ** 2)))
    return sum(made)


@pytest.mark.parametrize("name", READERS)
def test_backward_through_all_slices_takes_time_linear_in_their_number(name, made):
    few, many = (numbers_of_backward(READERS[name], t, made) for t in (32, 128))
    assert few >= 32
    assert many <= 4.5 * few, f"{few} numbers for 32 slices, {many} for 128"


@pytest.mark.parametrize("cell", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_recurrent_layer_takes_time_linear_in_the_steps(cell, made):
    def numbers(steps):
        layer = cell(3, 4, generator=mg.Generator(0))
        x = mg.Tensor(np.ones((2, steps, 3), "float32"), requires_grad=True)
        total = layer(x)[0].sum()
        made.clear()
        total.backward()
        return sum(made)

    assert numbers(128) <= 4.5 * numbers(32)


def test_watching_does_not_change_the_work_that_is_watched():
    def numbers(steps):
        x = leaf(np.ones((1, steps, WIDTH)))
        return work_of_backward(mg.stack([part.sum() for part in slices(x)])).numbers

    assert numbers(128) <= 4.5 * numbers(32)


# -- no growth ---------------------------------------------------------------------


def test_ten_thousand_training_steps_without_collector_grow_nothing(no_collector):
    random = np.random.default_rng(0)
    x, y = plain(random.normal(size=(4, 3))), plain(random.normal(size=(4, 1)))
    w, b = leaf(random.normal(size=(3, 1))), leaf([0.0])

    def step():
        error = mg.tanh(x @ w + b) - y
        loss = (error * error).mean()
        for parameter in (w, b):
            parameter.zero_grad()
        loss.backward()
        with mg.no_grad():
            w[...] -= 0.1 * w.grad
            b[...] -= 0.1 * b.grad
        return loss.item()

    gc.collect()  # empties the interpreter's free lists, which the first steps fill
    first = max(step() for _ in range(2000))
    entries, blocks = live_entries(), sys.getallocatedblocks()
    for _ in range(10_000):
        last = step()
    assert sys.getallocatedblocks() < blocks + 100
    assert gc.collect() == 0
    assert live_entries() == entries
    assert len(writes.stamps) < 100
    assert last < first


# -- threads -----------------------------------------------------------------------


def run_in_threads(*targets):
    """Run all at once and re-raise what went wrong in one of them."""
    wrong = []

    def guarded(target):
        try:
            target()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(t,)) for t in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if wrong:
        raise wrong[0]


def test_no_grad_in_one_thread_leaves_the_other_recording():
    inside, looked = threading.Event(), threading.Event()
    x = leaf(2.0)

    def silent():
        with mg.no_grad():
            inside.set()
            assert looked.wait(30)
            assert not (x * x).requires_grad
        assert (x * x).requires_grad

    def recording():
        assert inside.wait(30)
        assert (x * x).requires_grad
        looked.set()

    run_in_threads(silent, recording)


def test_a_watcher_in_one_thread_sees_nothing_of_the_other():
    inside, done = threading.Event(), threading.Event()
    seen = []

    def watching():
        with mg.profile() as profile:
            inside.set()
            assert done.wait(30)
        seen.extend(profile.events)

    def working():
        assert inside.wait(30)
        (leaf(2.0) * 3).backward()
        done.set()

    run_in_threads(watching, working)
    assert not seen


def test_threads_record_and_walk_at_once():
    start = threading.Barrier(4)
    found = {}

    def work(number):
        start.wait(30)
        x = leaf(float(number))
        for _ in range(200):
            y = x
            for _ in range(10):
                y = y * 1.5 + x
            x.grad = None
            y.backward()
        found[number] = x.grad.item()

    run_in_threads(*(lambda n=n: work(n) for n in range(4)))
    slope = 1.0
    for _ in range(10):
        slope = 1.5 * slope + 1
    assert found == dict.fromkeys(range(4), pytest.approx(slope))
