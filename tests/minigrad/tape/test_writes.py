"""Is an array that changed between forward and backward caught, and nothing else?"""

from __future__ import annotations

import gc

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.tape import record_write, writes
from tests.minigrad.helpers import assert_equal, assert_parts, leaf, plain

pytestmark = pytest.mark.usefixtures("device")

VALUES = [1.0, 2.0, 3.0]


def added(t):
    t += 1


def multiplied(t):
    t *= 2


def subtracted(t):
    t -= 1


def divided(t):
    t /= 2


def assigned(t):
    t[0] = 5.0


def assigned_by_mask(t):
    t[t > 1] = 0.0


WRITES = {
    "+=": added,
    "-=": subtracted,
    "*=": multiplied,
    "/=": divided,
    "an assignment to [...]": assigned,
    "assignment": assigned_by_mask,
    "copy_": lambda t: t.copy_([7.0, 8.0, 9.0]),
    "my own kernel": lambda t: record_write(t.data, "my own kernel"),
}


def caught(output):
    """The error that backward through a stale array raises."""
    with pytest.raises(RuntimeError) as raised:
        output.sum().backward()
    return raised.value


@pytest.mark.parametrize("name", WRITES)
def test_a_kept_operand_that_changed_is_caught_and_both_operations_named(name):
    x, a = leaf(VALUES), plain(VALUES)
    y = x * a
    WRITES[name](a)
    error = caught(y)
    assert_parts(
        error, "multiply", "kept operand 'b'", name, "in place before backward"
    )
    assert_parts(error, "Change a copy")
    assert x.grad is None


@pytest.mark.parametrize("name", WRITES)
def test_a_parameter_written_between_forward_and_backward_is_caught(name):
    w = leaf(VALUES)
    y = w * w
    with mg.no_grad():
        WRITES[name](w)
    assert_parts(caught(y), "multiply", name)


def test_a_kept_output_that_changed_is_caught():
    y = mg.exp(leaf(VALUES))
    shown = y.detach()
    shown += 1
    assert_parts(caught(y), "exp", "its output", "+=")


@pytest.mark.parametrize("kind", [nn.SGD, nn.Adam])
def test_an_optimiser_step_between_forward_and_backward_is_caught(kind):
    w = nn.Parameter(np.array(VALUES))
    optimizer = kind([w], lr=0.1)
    first, second = (w * w).sum(), (w * w).sum()
    first.backward()
    optimizer.step()
    with pytest.raises(RuntimeError) as raised:
        second.backward()
    operation = f"{kind.__name__.lower()}_update"
    assert_parts(raised.value, "multiply", operation, "in place before backward")


VIEWS = {
    "detach": lambda t: t.detach(),
    "asarray": lambda t: mg.asarray(t.data),
    "slice": lambda t: t.detach()[1:],
    "row of a slice": lambda t: t.detach().reshape(3, 1)[1:][0],
    "reshape": lambda t: t.detach().reshape(3, 1),
    "transpose": lambda t: t.detach().reshape(3, 1).T,
    "flip": lambda t: mg.flip(t.detach()),
    "unstack": lambda t: mg.unstack(t.detach().reshape(3, 1))[2],
    "split": lambda t: mg.split(t.detach(), 3)[0],
    "numpy": lambda t: mg.asarray(t.numpy()[::2]),
}
copies = pytest.mark.only_cpu("on other devices numpy() copies")
SHARING = [pytest.param(n, marks=copies) if n == "numpy" else n for n in VIEWS]


@pytest.mark.parametrize("name", SHARING)
def test_a_write_through_a_view_is_caught(name):
    x, a = leaf(VALUES), plain(VALUES)
    view = VIEWS[name](a)
    assert np.may_share_memory(view.data, a.data)
    y = x * a
    view += 1
    assert_parts(caught(y), "multiply", "+=")


@pytest.mark.parametrize("name", SHARING)
def test_a_write_to_the_whole_of_a_kept_view_is_caught(name):
    a = plain(VALUES)
    view = VIEWS[name](a)
    y = leaf(1.0) * view
    a += 1
    assert_parts(caught(y), "multiply", "+=")


def test_ids_that_changed_are_caught():
    x, ids = leaf(VALUES), plain([0, 2], "int64")
    y = mg.take(x, ids)
    ids[0] = 1
    assert_parts(caught(y), "gather", "an assignment to [...]")


def test_a_condition_that_changed_is_caught():
    x, mask = leaf(VALUES), plain([True, False, True], "bool")
    y = mg.where(mask, x, 0)
    mask[0] = False
    assert_parts(caught(y), "where", "condition")


def test_operands_of_a_checkpoint_that_changed_are_caught():
    x, a = leaf(VALUES), plain(VALUES)
    y = mg.checkpoint(lambda x, a: mg.tanh(x * a))(x, a)
    a += 1
    assert_parts(caught(y), "checkpoint", "+=")


def test_a_gradient_of_a_gradient_notices_too():
    x, a = leaf(VALUES), plain(VALUES)
    slope = mg.grad(mg.sin(x * a).sum(), x, create_graph=True)
    a += 1
    assert_parts(caught(slope), "multiply", "+=")


def test_lines_are_named_where_they_are_recorded():
    with mg.record_lines():
        x, a = leaf(VALUES), plain(VALUES)
        y = x * a  # the first line
        a += 1  # the second line
    error = caught(y)
    assert_parts(error, "y = x * a  # the first line", "a += 1  # the second line")


# -- no false alarms ---------------------------------------------------------------

KEEPS_NOTHING = {
    "add": lambda x, a: x + a,
    "subtract": lambda x, a: x - a,
    "concatenate": lambda x, a: mg.concatenate([x, a]),
    "relu of the sum": lambda x, a: mg.relu(x + a),
    "where": lambda x, a: mg.where(x > 0, x, a),
    "constants alone": lambda x, a: x + a * a,
}


@pytest.mark.parametrize("name", KEEPS_NOTHING)
def test_what_was_not_kept_may_change(name):
    x, a = leaf(VALUES), plain(VALUES)
    y = KEEPS_NOTHING[name](x, a)
    a += 100
    y.sum().backward()
    assert_equal(x.grad, [1, 1, 1])


def test_a_write_before_recording_is_no_concern():
    x, a = leaf(VALUES), plain(VALUES)
    a += 1
    (x * a).sum().backward()
    assert_equal(x.grad, a.numpy())


def test_a_write_after_backward_is_no_concern():
    x, a = leaf(VALUES), plain(VALUES)
    y = x * a
    y.sum().backward()
    a += 1
    assert_equal(x.grad, VALUES)


def test_a_write_to_another_array_is_no_concern():
    x, a, other = leaf(VALUES), plain(VALUES), plain(VALUES)
    y = x * a
    other += 1
    y.sum().backward()
    assert_equal(x.grad, VALUES)


def test_a_copy_may_change():
    x, a = leaf(VALUES), plain(VALUES)
    y = x * a
    copy = mg.Tensor(a)
    copy += 1
    y.sum().backward()
    assert_equal(x.grad, VALUES)


def test_new_data_replaces_the_array_and_harms_nothing():
    x, a = leaf(VALUES), plain(VALUES)
    y = x * a
    a.data = np.zeros(3)
    y.sum().backward()
    assert_equal(x.grad, VALUES)


def test_a_stamp_dies_with_its_array():
    gc.collect()
    before = len(writes.stamps)
    a = plain(VALUES)
    a += 1
    assert len(writes.stamps) == before + 1
    del a
    assert len(writes.stamps) == before


def test_a_new_array_does_not_inherit_the_stamp_of_a_dead_one():
    x = leaf(np.ones(1000))
    for _ in range(20):
        a = plain(np.ones(1000))
        y = x * a
        del a
        scratch = plain(np.ones(1000))
        scratch += 1
        del scratch
        y.sum().backward()


# -- what += means -----------------------------------------------------------------


def test_plain_data_is_written_in_place():
    a = plain(VALUES)
    array, same = a.data, a
    a += 1
    assert a is same
    assert a.data is array
    assert_equal(a, [2, 3, 4])


def test_a_result_gets_a_new_tensor_and_the_old_one_stays():
    x = leaf(VALUES)
    y = x * 2
    old = y
    y += 1
    assert y is not old
    assert_equal(old, [2, 4, 6])
    y.sum().backward()
    assert_equal(x.grad, [2, 2, 2])


def test_adding_a_result_to_plain_data_records():
    x, total = leaf(VALUES), plain(0.0)
    for _ in range(3):
        total += (x * x).sum()
    total.backward()
    assert_equal(x.grad, [6, 12, 18])


@pytest.mark.parametrize("name", [name for name in WRITES if name != "my own kernel"])
def test_writing_to_a_leaf_outside_no_grad_is_refused(name):
    w = leaf(VALUES)
    with pytest.raises(RuntimeError) as raised:
        WRITES[name](w)
    assert_parts(raised.value, "leaf that requires gradients", "no_grad()")
    assert_equal(w, VALUES)


@pytest.mark.parametrize("write", [assigned, lambda t: t.copy_(VALUES)])
def test_writing_to_a_result_is_refused(write):
    y = leaf(VALUES) * 2
    with pytest.raises(RuntimeError) as raised:
        write(y)
    assert_parts(raised.value, "result of multiply", "gradient wrong", "new tensor")


@pytest.mark.parametrize("how", ["[...]", "copy_"])
def test_writing_values_that_carry_gradients_is_refused(how):
    target, values = plain(VALUES), leaf(VALUES) * 2
    with pytest.raises(RuntimeError) as raised:
        target.copy_(values) if how == "copy_" else target.__setitem__(0, values[0])
    assert_parts(raised.value, "values that carry gradients", "detach()")


def test_writing_fractions_into_integers_is_refused():
    counts = plain([1, 2], "int64")
    with pytest.raises((TypeError, ValueError)) as raised:
        counts += 0.5
    assert_parts(raised.value, "int64", "float")
    assert_equal(counts, [1, 2])


def test_writing_another_shape_is_refused_with_both_shapes():
    a = plain(VALUES)
    with pytest.raises(ValueError, match=r"\(3,?\)|\[3\]") as raised:
        a += plain(np.ones((2, 3)))
    assert_parts(raised.value, "+=")
