"""Do errors say what went wrong, why, and the way out? One test on each message."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend
from tests.minigrad.fake_cupy import registered
from tests.minigrad.helpers import assert_parts, leaf, plain

X = leaf(np.ones((2, 3)))
V = leaf(np.ones(3))
IDS = np.array([0, 5])

# name: (what is done wrongly, error, what, why, way out)
MESSAGES = {
    "shapes that do not broadcast": (
        lambda: X + leaf(np.ones((4, 5))),
        ValueError,
        ("add", "[2, 3]", "[4, 5]"),
        ("equal", "is 1"),
        ("reshape or expand_dims",),
    ),
    "shapes of a choice": (
        lambda: mg.where(np.ones(4, bool), X, 0),
        ValueError,
        ("where", "[4]", "[2, 3]"),
        ("broadcast",),
        ("reshape or expand_dims",),
    ),
    "shapes of a product": (
        lambda: X @ leaf(np.ones((2, 4))),
        ValueError,
        ("matmul", "[2, 3]", "[2, 4]"),
        ("last axis of the first", "last but one"),
        ("transpose", ".T"),
    ),
    "an impossible reshape": (
        lambda: X.reshape(4, 2),
        ValueError,
        ("reshape", "[2, 3]", "(4, 2)"),
        ("size 6",),
        ("Check",),
    ),
    "an axis that is not there": (
        lambda: X.sum(axis=2),
        (ValueError, IndexError),
        ("sum", "[2, 3]", "axis=2"),
        ("out of bounds",),
        ("Check the axis",),
    ),
    "an axis that is not there, negative": (
        lambda: mg.softmax(X, axis=-3),
        (ValueError, IndexError),
        ("[2, 3]", "axis=-3"),
        ("out of bounds",),
        ("Check the axis",),
    ),
    "an axis of a mean": (
        lambda: mg.mean(X, axis=5),
        (ValueError, IndexError),
        ("[2, 3]", "axis=5"),
        ("out of bounds",),
        ("Check the axis",),
    ),
    "an axis of take": (
        lambda: mg.take(X, [0], axis=2),
        (ValueError, IndexError),
        ("take", "axis 2"),
        ("(2, 3)", "no such axis"),
        ("Check the axis",),
    ),
    "parts that do not add up": (
        lambda: mg.split(X, [2, 2], axis=1),
        ValueError,
        ("split", "(2, 2)"),
        ("size 3",),
        ("Check",),
    ),
    "shapes that do not join": (
        lambda: mg.concatenate([X, leaf(np.ones((2, 4)))]),
        ValueError,
        ("concatenate", "[2, 3]", "[2, 4]"),
        ("must match",),
        ("Check",),
    ),
    "shapes that do not stack": (
        lambda: mg.stack([X, V]),
        ValueError,
        ("stack", "[2, 3]", "[3]"),
        ("same shape",),
        ("Check",),
    ),
    "nothing to stack": (
        lambda: mg.stack([]),
        ValueError,
        ("stack",),
        ("at least one",),
        ("Check",),
    ),
    "the largest of nothing": (
        lambda: leaf(np.zeros(0)).max(),
        ValueError,
        ("max", "[0]"),
        ("zero-size",),
        ("Check",),
    ),
    "an axis that cannot be squeezed": (
        lambda: X.squeeze(0),
        ValueError,
        ("squeeze", "[2, 3]"),
        ("not equal to one",),
        ("Check",),
    ),
    "a text as operand": (
        lambda: X + "one",
        TypeError,
        ("str", "'one'"),
        ("expected a number",),
        ("Convert",),
    ),
    "nothing as operand": (
        lambda: X * None,
        TypeError,
        ("NoneType",),
        ("expected a number",),
        ("Convert",),
    ),
    "booleans that are subtracted": (
        lambda: plain([True], "bool") - plain([True], "bool"),
        TypeError,
        ("subtract", "bool[1]"),
        ("not supported",),
        ("Convert",),
    ),
    "ragged lists": (
        lambda: mg.Tensor([[1, 2], [3]]),
        TypeError,
        ("cannot make an array", "[[1, 2], [3]]"),
        ("rectangular",),
        ("Convert",),
    ),
    "integers that require gradients": (
        lambda: mg.Tensor(np.arange(3), requires_grad=True),
        TypeError,
        ("int64", "cannot require gradients"),
        ("only real numbers",),
        ("astype('float32')",),
    ),
    "an id out of range": (
        lambda: mg.take(X, IDS),
        IndexError,
        ("gather", "[2, 3]"),
        ("index 5 is out of bounds", "size 2"),
        ("Check the index",),
    ),
    "an index out of range": (
        lambda: X[7],
        IndexError,
        ("[2, 3]", "7"),
        ("out of bounds", "size 2"),
        ("Check the index",),
    ),
    "too many indices": (
        lambda: X[0, 0, 0],
        IndexError,
        ("[2, 3]",),
        ("too many indices",),
        ("Check the index",),
    ),
    "a mask of another shape": (
        lambda: X[np.ones((2, 2), bool)],
        IndexError,
        ("[2, 3]",),
        ("boolean index did not match",),
        ("Check the index",),
    ),
    "an index of fractions": (
        lambda: X[np.array([0.5])],
        IndexError,
        ("dtype float64",),
        ("expected integers",),
        (".astype(int)",),
    ),
    "a text as index": (
        lambda: X["a"],
        IndexError,
        ("index",),
        ("expected integers",),
        ("Convert",),
    ),
    "ids of fractions": (
        lambda: mg.take(X, [0.5]),
        IndexError,
        ("gather", "[2, 3]"),
        ("integer",),
        (".astype(int)",),
    ),
    "a size that is no number": (
        lambda: mg.zeros((2.5,)),
        TypeError,
        ("cannot make a tensor", "(2.5,)"),
        ("'float' object",),
        ("a tuple of whole numbers",),
    ),
    "a size below zero": (
        lambda: mg.ones(-1),
        ValueError,
        ("cannot make a tensor", "-1"),
        ("negative",),
        ("0 or more",),
    ),
    "more than any memory": (
        lambda: mg.zeros((10**7, 10**7)),
        (ValueError, MemoryError),
        ("cannot make a tensor",),
        ("(10000000, 10000000)",),
        ("whole numbers",),
    ),
    "a dtype that there is not": (
        lambda: mg.Tensor([1], dtype="float33"),
        TypeError,
        ("'float33'",),
        ("is no dtype",),
        ("'float32'",),
    ),
    "a seed below zero": (
        lambda: mg.manual_seed(-1),
        ValueError,
        ("seed -1",),
        ("non-negative",),
        ("0 or more",),
    ),
    "one-hot rows of fractions": (
        lambda: mg.one_hot([0.5], 3),
        TypeError,
        ("one_hot", "float64"),
        ("a whole number",),
        (".astype(int)",),
    ),
    "a checkpoint of a result": (
        lambda: mg.checkpoint(X),
        TypeError,
        ("checkpoint", "Tensor"),
        ("it takes the function",),
        ("checkpoint(f)(x)",),
    ),
    "an image without a batch": (
        lambda: mg.conv2d(plain(np.ones((1, 4, 4))), plain(np.ones((1, 1, 2, 2)))),
        ValueError,
        ("conv2d", "(1, 4, 4)"),
        ("do not go together",),
        ("images are (N, C, H, W)",),
    ),
    "a stride of 0": (
        lambda: mg.conv2d(
            plain(np.ones((1, 1, 4, 4))), plain(np.ones((1, 1, 2, 2))), stride=(0, 1)
        ),
        ValueError,
        ("conv2d", "stride 0"),
        ("each is 1 at least",),
        ("Check",),
    ),
    "backward from a constant": (
        lambda: plain([1.0]).backward(),
        RuntimeError,
        ("no gradient can reach",),
        ("no operand had requires_grad=True", "no_grad()"),
        ("Tensor(..., requires_grad=True)",),
    ),
    "backward from several numbers": (
        lambda: (X * 2).backward(),
        ValueError,
        ("shape (2, 3)",),
        ("only a single number",),
        (".sum()", "grad_output="),
    ),
    "a cotangent of another shape": (
        lambda: (X * 2).backward(np.ones(3)),
        ValueError,
        ("grad_output", "(3,)", "(2, 3)"),
        ("must be equal",),
        ("reshape",),
    ),
    "a gradient by a constant": (
        lambda: mg.grad(X.sum(), [X, plain([1.0])]),
        TypeError,
        ("input 1 of grad",),
        ("nothing was recorded",),
        ("requires_grad=True",),
    ),
    "a gradient of several numbers": (
        lambda: mg.grad(X * 2, X),
        ValueError,
        ("shape (2, 3)",),
        ("only a single number",),
        (".sum()", "grad_output="),
    ),
    "a gradient of what is no tensor": (
        lambda: mg.grad(3.0, X),
        TypeError,
        ("output of grad", "float"),
        ("only a Tensor",),
        ("Pass the Tensor",),
    ),
    "a gradient by what is no tensor": (
        lambda: mg.grad(X.sum(), [np.ones(3)]),
        TypeError,
        ("input 0 of grad", "ndarray"),
        ("only a Tensor",),
        ("Pass the Tensor",),
    ),
    "item of several numbers": (
        lambda: X.item(),
        ValueError,
        ("item()", "(2, 3)"),
        ("only a tensor with one element",),
        (".numpy()",),
    ),
    "the truth of several numbers": (
        lambda: bool(X > 0),
        ValueError,
        ("truth", "(2, 3)"),
        ("ambiguous",),
        ("Reduce it",),
    ),
    "a hook on a constant": (
        lambda: plain([1.0]).register_hook(print),
        RuntimeError,
        ("register_hook()",),
        ("does not require gradients",),
        ("requires_grad=True",),
    ),
    "a gradient assigned to a result": (
        lambda: setattr(X * 2, "grad", np.ones((2, 3))),
        RuntimeError,
        ("only a leaf",),
        ("this tensor is a result",),
        ("minigrad.grad",),
    ),
    "a gradient of another shape": (
        lambda: setattr(X, "grad", np.ones(3)),
        ValueError,
        ("shape (3,)",),
        ("does not fit", "(2, 3)"),
        ("same shape, or None",),
    ),
    "data assigned to a result": (
        lambda: setattr(X * 2, "data", np.ones((2, 3))),
        RuntimeError,
        ("assigning .data", "multiply"),
        ("gradient wrong",),
        ("new tensor",),
    ),
    "requires_grad of a result": (
        lambda: setattr(X * 2, "requires_grad", False),
        RuntimeError,
        ("requires_grad", "result of multiply"),
        (),
        ("detach()",),
    ),
    "a misspelt attribute": (
        lambda: setattr(X, "requires_gard", True),
        AttributeError,
        ("requires_gard",),
        ("Tensor",),
        (),
    ),
    "an argument missing": (
        lambda: mg.cumsum(X),
        TypeError,
        ("cumsum",),
        ("axis",),
        (),
    ),
    "an argument that is not there": (
        lambda: mg.sum(X, axes=0),
        TypeError,
        ("sum",),
        ("axes",),
        (),
    ),
    "a list that is one tensor's": (
        lambda: mg.concatenate(X, V),
        TypeError,
        ("concatenate",),
        (),
        (),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_says_what_why_and_the_way_out(name):
    wrong, kind, what, why, way_out = MESSAGES[name]
    with pytest.raises(kind) as raised:
        wrong()
    assert_parts(raised.value, *what, *why, *way_out)


@pytest.mark.parametrize("name", MESSAGES)
def test_nothing_remains_of_a_failed_operation(name):
    wrong, kind, *_ = MESSAGES[name]
    with pytest.raises(kind):
        wrong()
    assert X.grad is None
    assert (X * 2).requires_grad


def test_the_librarys_own_error_is_the_cause():
    with pytest.raises(ValueError, match="add") as raised:
        X + np.ones((4, 5))
    assert isinstance(raised.value.__cause__, ValueError)


def test_plain_arrays_and_tensors_get_the_same_message():
    told = []
    for operand in (X, plain(np.ones((2, 3))), np.ones((2, 3))):
        with pytest.raises(ValueError, match="matmul") as raised:
            mg.matmul(operand, np.ones((2, 4)))
        told.append(str(raised.value))
    assert len(set(told)) == 1


def test_a_second_backward():
    y = (X * X).sum()
    y.backward()
    X.zero_grad()
    with pytest.raises(RuntimeError) as raised:
        y.backward()
    assert_parts(raised.value, "already freed at sum")
    assert_parts(raised.value, "frees what it has used")
    assert_parts(raised.value, "retain_graph=True", "compute the output again")


def test_a_hook_that_returns_another_shape():
    x = leaf(np.ones((2, 3)))
    y = x * 2
    y.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match="hook") as raised:
        y.sum().backward()
    assert_parts(raised.value, "multiply", "()", "(2, 3)", "or None")


def test_a_hook_that_returns_what_is_no_tensor():
    x = leaf(np.ones((2, 3)))
    x.register_hook(lambda g: "nothing")
    with pytest.raises(TypeError) as raised:
        (x * 2).sum().backward()
    assert_parts(raised.value, "hook", "str", "Tensor", "None")


# -- devices -----------------------------------------------------------------------


class ForeignArray:
    """An array that lives on a second GPU and knows nothing of NumPy's."""

    __array_ufunc__ = None
    dtype = np.dtype("float32")
    shape = (3,)
    ndim = 1
    size = 3
    base = None

    def __add__(self, other):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")

    __radd__ = __matmul__ = __rmatmul__ = __add__


@pytest.fixture
def foreign():
    """A tensor on another device."""

    def unused(*_):
        raise AssertionError("nothing is to be moved")

    library = backend.Library("cuda", ForeignArray, unused, unused, lambda _: 1)
    with registered(library):
        yield mg.asarray(ForeignArray())


@pytest.mark.parametrize("other", [V, V.detach(), V.numpy()])
@pytest.mark.parametrize("call", [mg.add, mg.matmul])
def test_operands_on_two_devices(foreign, other, call):
    for left, right in ((foreign, other), (other, foreign)):
        with pytest.raises(RuntimeError) as raised:
            call(left, right)
        assert_parts(
            raised.value, call.__name__, "'cpu'", "cuda:1", "different devices"
        )
        assert_parts(raised.value, "runs on one device", ".to('cpu')")
