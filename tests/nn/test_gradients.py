"""Are the gradients of every layer right, in every condition, for drawn shapes?

Every public function and module of `nn` has a case here, or a reason to have none.
"""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad.testing import check_function, check_module
from nn import functional as F


class Sizes:
    """Drawn lengths N, T, D, H, and a generator for everything else."""

    def __init__(self, N, T, D, H, seed):
        self.N, self.T, self.D, self.H = N, T, D, H
        self.seed = seed
        self.rng = np.random.default_rng(seed)

    def normals(self, *shapes):
        return [np.asarray(self.rng.standard_normal(shape)) for shape in shapes]

    def distinct(self, *shape):
        """Whole numbers in any order: the largest stays so however one is nudged."""
        return self.rng.permutation(np.arange(float(np.prod(shape)))).reshape(shape)

    def ids(self, below, *shape):
        return self.rng.integers(0, below, shape)

    def generator(self):
        return mg.Generator(self.seed)


length = st.integers(1, 3)
small = st.integers(1, 2)
seeds = st.integers(0, 2**32 - 1)
sizes = st.builds(Sizes, small, length, small, small, seeds)


def recurrent(s, gates, states=1, biases=1, sequence=False):
    """Draw x, states, Wx, Wh and biases."""
    x = (s.N, s.T, s.D) if sequence else (s.N, s.D)
    width = gates * s.H
    weights = [(s.D, width), (s.H, width), *[(width,)] * biases]
    return s.normals(x, *[(s.N, s.H)] * states, *weights)


def attention(s, **settings):
    """Draw queries, keys, values and a mask, of which a row may be empty."""
    shapes = (s.N, s.T, s.D), (s.N, s.H, s.D), (s.N, s.H, s.T)
    mask = s.ids(3, s.N, s.T, s.H) > 0
    return partial(F.scaled_dot_product_attention, mask=mask, **settings), s.normals(
        *shapes
    )


def unrolled(x, h0, Wx, Wh, b):
    """Run a cell of one's own over a sequence; the last state counts twice."""

    def cell(x, h):
        return mg.tanh(x @ Wx + h @ Wh + b)

    return F.unroll(cell, mg.unstack(x, axis=1), h0)


FUNCTIONS = {
    "linear": lambda s: (F.linear, s.normals((s.N, s.D), (s.D, s.H), (s.H,))),
    "temporal_affine": lambda s: (
        F.temporal_affine,
        s.normals((s.N, s.T, s.D), (s.D, s.H), (s.H,)),
    ),
    "word_embedding": lambda s: (
        F.word_embedding,
        [s.ids(s.D, s.N, s.T), *s.normals((s.D, s.H))],
    ),
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
    "cross_entropy": lambda s: (
        F.cross_entropy,
        [*s.normals((s.N, s.D)), s.ids(s.D, s.N)],
    ),
    "temporal_softmax_loss": lambda s: (
        F.temporal_softmax_loss,
        [
            *s.normals((s.N, s.T, s.D)),
            s.ids(s.D, s.N, s.T),
            s.ids(2, s.N, s.T) > 0,
        ],
    ),
    "conv2d": lambda s: (
        partial(F.conv2d, stride=s.H, padding=s.D - 1, dilation=s.N),
        s.normals((s.N, s.D, s.T + 2, 3), (s.H, s.D, 2, 2), (s.H,)),
    ),
    "conv_transpose2d": lambda s: (
        partial(F.conv_transpose2d, stride=s.H, padding=s.D - 1),
        s.normals((s.N, s.H, s.T + 1, 2), (s.H, s.D, 2, 2), (s.D,)),
    ),
    "max_pool2d": lambda s: (
        partial(F.max_pool2d, size=2, stride=s.H, padding=s.D - 1, ceil_mode=s.N == 2),
        [s.distinct(s.N, 1, s.T + 1, 2)],
    ),
    "avg_pool2d": lambda s: (
        partial(F.avg_pool2d, size=2, stride=s.H, padding=s.D - 1, ceil_mode=s.N == 2),
        s.normals((s.N, 1, s.T + 1, 2)),
    ),
    "gelu": lambda s: (F.gelu, s.normals((s.N, s.D))),
    "layer_norm": lambda s: (
        partial(F.layer_norm, eps=0.1),
        s.normals((s.N, s.T, s.D), (s.D,), (s.D,)),
    ),
    "scaled_dot_product_attention": attention,
    "scaled_dot_product_attention in blocks": lambda s: attention(s, chunk=2),
    "scaled_dot_product_attention with dropout": lambda s: attention(
        s, dropout=0.3, generator=s.generator()
    ),
    "scaled_dot_product_attention in blocks with dropout": lambda s: attention(
        s, chunk=2, dropout=0.3, generator=s.generator()
    ),
    "unroll": lambda s: (unrolled, recurrent(s, 1, sequence=True)),
    "mse_loss": lambda s: (F.mse_loss, s.normals((s.N, s.D), (s.N, s.D))),
    "bce_with_logits": lambda s: (
        F.bce_with_logits,
        s.normals((s.N, s.D), (s.N, s.D)),
    ),
}


def layer_case(kind):
    """Make a case of a layer over sequences."""
    return lambda s: (
        kind(s.D, s.H, generator=s.generator()),
        s.normals((s.N, s.T, s.D)),
    )


def cell_case(kind):
    """Make a case of a cell with one state."""
    return lambda s: (
        kind(s.D, s.H, generator=s.generator()),
        s.normals((s.N, s.D), (s.N, s.H)),
    )


class WithPair(nn.Module):
    """A layer whose second operand is a pair, as two operands."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, h, c):
        return self.layer(x, (h, c))


def pair_case(kind, sequence):
    """Make a case of an LSTM with both its states."""

    def case(s):
        x = (s.N, s.T, s.D) if sequence else (s.N, s.D)
        layer = WithPair(kind(s.D, s.H, generator=s.generator()))
        return layer, s.normals(x, (s.N, s.H), (s.N, s.H))

    return case


def transformer_case(kind, inputs, **settings):
    """Make a case of a layer of the Transformer, with dropout and GELU."""
    made = {"head_dim": 2, "dropout": 0.3, "activation": "gelu", **settings}

    def case(s):
        layer = kind(s.D, 2, s.H, generator=s.generator(), **made)
        return softened(layer), s.normals(*[(s.N, s.T, s.D)] * inputs)

    return case


def softened(module):
    """Leave vectors of one element a derivative: their standard deviation is 0."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = 0.1
    return module


def stack_case(kind, layer, inputs):
    """Make a case of two layers and a last normalisation."""

    def case(s):
        layers = [
            layer(s.D, 1, s.H, activation="gelu", norm_first=f, generator=s.generator())
            for f in (True, False)
        ]
        stack = softened(kind(layers, nn.LayerNorm(s.D)))
        return stack, s.normals(*[(s.N, s.T, s.D)] * inputs)

    return case


MODULES = {
    "LayerNorm": lambda s: (
        nn.LayerNorm(s.D, eps=0.1),
        s.normals((s.N, s.T, s.D)),
    ),
    "MultiHeadAttention": lambda s: (
        nn.MultiHeadAttention(s.D, 2, s.H, dropout=0.3, generator=s.generator()),
        s.normals((s.N, s.T, s.D), (s.N, s.H, s.D), (s.N, s.H, s.D)),
    ),
    "LearnedPositions": lambda s: (
        nn.LearnedPositions(s.T + 1, s.D, generator=s.generator()),
        s.normals((s.N, s.T, s.D)),
    ),
    "SinusoidalPositions": lambda s: (
        nn.SinusoidalPositions(2 * s.D),
        s.normals((s.N, s.T, 2 * s.D)),
    ),
    "FeedForward": lambda s: (
        nn.FeedForward(s.D, s.H, "gelu", dropout=0.3, generator=s.generator()),
        s.normals((s.N, s.T, s.D)),
    ),
    "TransformerEncoderLayer": transformer_case(nn.TransformerEncoderLayer, 1),
    "TransformerDecoderLayer": transformer_case(
        nn.TransformerDecoderLayer, 2, norm_first=True
    ),
    "TransformerEncoder": stack_case(
        nn.TransformerEncoder, nn.TransformerEncoderLayer, 1
    ),
    "TransformerDecoder": stack_case(
        nn.TransformerDecoder, nn.TransformerDecoderLayer, 2
    ),
    "Conv2d": lambda s: (
        nn.Conv2d(s.D, s.H, 2, padding=1, generator=s.generator()),
        s.normals((s.N, s.D, s.T, 2)),
    ),
    "MaxPool2d": lambda s: (
        nn.MaxPool2d(2, stride=1),
        [s.distinct(s.N, 1, 2, s.T + 1)],
    ),
    "AvgPool2d": lambda s: (nn.AvgPool2d(2, stride=1), s.normals((s.N, 1, 2, s.T + 1))),
    "Linear": layer_case(nn.Linear),
    "Embedding": lambda s: (
        nn.Embedding(s.D, s.H, generator=s.generator()),
        [s.ids(s.D, s.N, s.T)],
    ),
    "Dropout": lambda s: (
        nn.Dropout(0.5, generator=s.generator()),
        s.normals((s.N, s.D)),
    ),
    "RNN": layer_case(nn.RNN),
    "LSTM": layer_case(nn.LSTM),
    "LSTM with its states": pair_case(nn.LSTM, sequence=True),
    "GRU": layer_case(nn.GRU),
    "RNNCell": cell_case(nn.RNNCell),
    "LSTMCell": pair_case(nn.LSTMCell, sequence=False),
    "GRUCell": cell_case(nn.GRUCell),
    "Sequential": lambda s: (
        nn.Sequential(nn.Linear(s.D, s.H), mg.tanh, nn.Linear(s.H, s.D)),
        s.normals((s.N, s.D)),
    ),
}

WITHOUT_CASE = {
    "Module": "the base class of layers computes nothing",
    "ModuleList": "a list of layers computes nothing",
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


# Complex numbers have no order, and so no maximum.
REAL_ONLY = ("max_pool2d", "MaxPool2d")


def complex_of(operand):
    """An operand of floats as a complex Tensor, others as they are."""
    if operand.dtype.kind != "f":
        return operand
    imaginary = 1e-3j * np.cos(np.arange(operand.size)).reshape(operand.shape)
    return mg.Tensor(operand + imaginary, "complex128")


def assert_complex(result):
    if isinstance(result, tuple):
        for part in result:
            assert_complex(part)
    else:
        assert result.dtype == "complex128"
        assert np.isfinite(result.numpy()).all()


@pytest.mark.only_cpu("dtypes, not devices, are looked at")
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in REAL_ONLY])
def test_functions_take_complex_tensors(name):
    """The checker's complex steps need layers that compute with them."""
    f, operands = FUNCTIONS[name](Sizes(2, 3, 2, 2, seed=0))
    assert_complex(f(*map(complex_of, operands)))


@pytest.mark.only_cpu("dtypes, not devices, are looked at")
@pytest.mark.parametrize("name", [name for name in MODULES if name not in REAL_ONLY])
def test_modules_take_complex_tensors(name):
    module, inputs = MODULES[name](Sizes(2, 3, 2, 2, seed=0))
    for parameter in module.parameters():
        parameter.requires_grad = False
        parameter.data = complex_of(parameter.numpy().astype("float64")).data
    assert_complex(module(*map(complex_of, inputs)))


@pytest.mark.parametrize("name", FUNCTIONS)
@given(s=sizes)
def test_functions(name, device, s):
    f, operands = FUNCTIONS[name](s)
    how = {"seed": s.seed, "name": name, "device": device}
    check_function(f, *operands, special=False, **how)


@pytest.mark.parametrize("name", MODULES)
@given(s=sizes)
def test_modules(name, device, s):
    module, inputs = MODULES[name](s)
    check_module(module, *inputs, seed=s.seed, device=device, special=False)


# An example tries all special points, at every element: one is enough.
ONE = settings(max_examples=1)


@pytest.mark.only_cpu("values, not devices, are special")
@pytest.mark.parametrize("name", FUNCTIONS)
@ONE
@given(s=sizes)
def test_functions_at_special_points(name, s):
    f, operands = FUNCTIONS[name](s)
    check_function(f, *operands, seed=s.seed, name=name, order=1)
