"""Are the gradients of every layer right, first and second order, for drawn shapes?

Every public function and module of `nn` has a case here, or a reason to have none.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from nn import functional as F
from tests.nn.reference import (
    draw_cotangents,
    numeric_gradients,
    tape_gradients,
    weighted_sum,
)

FIRST_ORDER = 1e-7
SECOND_ORDER = 1e-6


class Sizes:
    """Drawn lengths N, T, D, H, and a generator for everything else."""

    def __init__(self, N, T, D, H, seed):
        self.N, self.T, self.D, self.H = N, T, D, H
        self.rng = np.random.default_rng(seed)

    def normals(self, *shapes):
        return [np.asarray(self.rng.standard_normal(shape)) for shape in shapes]

    def ids(self, below, *shape):
        return self.rng.integers(0, below, shape)


length = st.integers(1, 3)
sizes = st.builds(Sizes, length, length, length, length, st.integers(0, 2**32 - 1))


def recurrent(s, gates, states=1, biases=1, sequence=False):
    """Draw x, states, Wx, Wh and biases."""
    x = (s.N, s.T, s.D) if sequence else (s.N, s.D)
    width = gates * s.H
    weights = [(s.D, width), (s.H, width), *[(width,)] * biases]
    return s.normals(x, *[(s.N, s.H)] * states, *weights)


def embedding_case(s):
    ids = s.ids(s.D, s.N, s.T)
    return (lambda table: F.word_embedding(ids, table)), s.normals((s.D, s.H))


def cross_entropy_case(s):
    targets = s.ids(s.D, s.N)
    return (lambda scores: F.cross_entropy(scores, targets)), s.normals((s.N, s.D))


def temporal_softmax_case(s):
    targets, mask = s.ids(s.D, s.N, s.T), s.ids(2, s.N, s.T) > 0

    def loss(scores):
        return F.temporal_softmax_loss(scores, targets, mask)

    return loss, s.normals((s.N, s.T, s.D))


def layer_case(kind):
    """Make a case of a layer: gradients of x and of every parameter."""

    def case(s):
        layer = kind(s.D, s.H, dtype="float64")
        names = list(layer.state_dict())

        def f(x, *parameters):
            for name, parameter in zip(names, parameters, strict=True):
                setattr(layer, name, parameter)
            return flatten(layer(x))

        shapes = [p.shape for p in layer.parameters()]
        return f, s.normals((s.N, s.T, s.D), *shapes)

    return case


def flatten(result):
    """Return all tensors of nested tuples."""
    if not isinstance(result, tuple):
        return (result,)
    return tuple(tensor for part in result for tensor in flatten(part))


def cell_case(kind, gates, states, biases):
    """Make a case of a cell, which takes its states as well."""

    def case(s):
        cell = kind(s.D, s.H, dtype="float64")
        names = ["Wx", "Wh", "b"] if biases == 1 else ["Wx", "Wh", "bx", "bh"]

        def f(x, *operands):
            for name, operand in zip(names, operands[states:], strict=True):
                setattr(cell, name, operand)
            state = operands[:states]
            return cell(x, state if states > 1 else state[0])

        return f, recurrent(s, gates, states, biases)

    return case


FUNCTIONS = {
    "linear": lambda s: (F.linear, s.normals((s.N, s.D), (s.D, s.H), (s.H,))),
    "temporal_affine": lambda s: (
        F.temporal_affine,
        s.normals((s.N, s.T, s.D), (s.D, s.H), (s.H,)),
    ),
    "word_embedding": embedding_case,
    "rnn_step": lambda s: (F.rnn_step, recurrent(s, 1)),
    "rnn": lambda s: (F.rnn, recurrent(s, 1, sequence=True)),
    "lstm_step": lambda s: (F.lstm_step, recurrent(s, 4, states=2)),
    "lstm": lambda s: (F.lstm, recurrent(s, 4, sequence=True)),
    "lstm_sequence": lambda s: (
        F.lstm_sequence,
        recurrent(s, 4, states=2, sequence=True),
    ),
    "gru_step": lambda s: (F.gru_step, recurrent(s, 3, biases=2)),
    "gru": lambda s: (F.gru, recurrent(s, 3, biases=2, sequence=True)),
    "cross_entropy": cross_entropy_case,
    "temporal_softmax_loss": temporal_softmax_case,
    "mse_loss": lambda s: (F.mse_loss, s.normals((s.N, s.D), (s.N, s.D))),
    "bce_with_logits": lambda s: (
        F.bce_with_logits,
        s.normals((s.N, s.D), (s.N, s.D)),
    ),
}

MODULES = {
    "Linear": layer_case(nn.Linear),
    "RNN": layer_case(nn.RNN),
    "LSTM": layer_case(nn.LSTM),
    "GRU": layer_case(nn.GRU),
    "RNNCell": cell_case(nn.RNNCell, 1, 1, 1),
    "LSTMCell": cell_case(nn.LSTMCell, 4, 2, 1),
    "GRUCell": cell_case(nn.GRUCell, 3, 1, 2),
}

WITHOUT_CASE = {
    "Embedding": "word_embedding on its table: see test_embedding.py",
    "Dropout": "one product with a mask: see test_dropout.py",
    "Module": "no computation of its own",
    "ModuleList": "no computation of its own",
    "Sequential": "its layers' computations in turn",
}


def test_every_function_has_a_case():
    absent = set(F.__all__) - set(FUNCTIONS)
    assert not absent, (
        f"nn.functional has {sorted(absent)} without a gradient test: add to FUNCTIONS "
        f"in {__file__} what to call and how to draw its differentiable operands"
    )


def test_every_module_has_a_case():
    kinds = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    modules = {name for name in kinds if issubclass(getattr(nn, name), nn.Module)}
    absent = modules - set(MODULES) - set(WITHOUT_CASE)
    assert not absent, (
        f"nn has {sorted(absent)} without a gradient test: add to MODULES in "
        f"{__file__} a case such as layer_case, or to WITHOUT_CASE the reason"
    )


def assert_close(ours, theirs, tolerance):
    """Compare gradients against the size of the largest: none is all rounding."""
    scale = max(1.0, *(np.abs(t).max(initial=0.0) for t in theirs))
    for mine, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", [*FUNCTIONS, *MODULES])
@settings(max_examples=50)
@given(s=sizes)
def test_first_order(name, s):
    f, arrays = (FUNCTIONS | MODULES)[name](s)
    cotangents = draw_cotangents(f, arrays, s.rng)
    ours = tape_gradients(f, arrays, cotangents)
    assert_close(ours, numeric_gradients(f, arrays, cotangents), FIRST_ORDER)


@pytest.mark.parametrize("name", [*FUNCTIONS, *MODULES])
@settings(max_examples=50)
@given(s=sizes)
def test_second_order(name, s):
    f, arrays = (FUNCTIONS | MODULES)[name](s)
    cotangents = draw_cotangents(f, arrays, s.rng)
    direction = [np.asarray(s.rng.standard_normal(a.shape)) for a in arrays]

    ours = hessian_product(f, arrays, cotangents, direction)
    theirs = difference_along(f, arrays, cotangents, direction)
    assert_close(ours, theirs, SECOND_ORDER)


def hessian_product(f, arrays, cotangents, direction):
    """Return the Hessian times a direction, by differentiating a gradient."""
    tensors = [mg.Tensor(a, requires_grad=True) for a in arrays]
    total = weighted_sum(f(*tensors), cotangents)
    gradients = mg.grad(total, tensors, create_graph=True)
    slope = weighted_sum(tuple(gradients), direction)
    if not slope.requires_grad:
        return [np.zeros_like(a) for a in arrays]
    return [g.numpy() for g in mg.grad(slope, tensors)]


def difference_along(f, arrays, cotangents, direction, h=1e-5):
    """Return the same from first-order gradients a step to both sides."""
    moved = [
        tape_gradients(
            f,
            [a + side * h * d for a, d in zip(arrays, direction, strict=True)],
            cotangents,
        )
        for side in (1, -1)
    ]
    return [(plus - minus) / (2 * h) for plus, minus in zip(*moved, strict=True)]
