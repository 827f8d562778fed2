"""Are PyTorch's weights converted to ours and back, all of them or none?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from nn import torch_weights
from tests.nn.reference import says

D, H = 3, 2
KINDS = [nn.RNNCell, nn.RNN, nn.LSTMCell, nn.LSTM, nn.GRUCell, nn.GRU]
SUFFIX = {kind: "" if kind.__name__.endswith("Cell") else "_l0" for kind in KINDS}


class Tagger(nn.Module):
    """Nested modules, functions between them, and a parameter of its own."""

    def __init__(self, generator=None):
        self.embedding = nn.Embedding(5, D, generator=generator)
        self.lstm = nn.LSTM(D, H, generator=generator)
        self.head = nn.Sequential(nn.Linear(H, 4, generator=generator), mg.tanh)
        self.scale = nn.Parameter(np.arange(4.0))


class Tied(nn.Module):
    """One parameter in two layers, one layer under two names."""

    def __init__(self):
        self.first = nn.Linear(D, D)
        self.second = nn.Linear(D, D, bias=False)
        self.second.W = self.first.W
        self.again = self.first


MODELS = {
    **{kind.__name__: lambda g, k=kind: k(D, H, generator=g) for kind in KINDS},
    "Linear": lambda g: nn.Linear(D, H, generator=g),
    "Linear without bias": lambda g: nn.Linear(D, H, bias=False, generator=g),
    "Embedding": lambda g: nn.Embedding(5, D, generator=g),
    "Conv2d": lambda g: nn.Conv2d(D, H, (1, 2), generator=g),
    "LayerNorm": lambda g: nn.LayerNorm(D),
    "MultiHeadAttention": lambda g: nn.MultiHeadAttention(D, 2, 5, generator=g),
    "TransformerEncoderLayer": lambda g: nn.TransformerEncoderLayer(
        D, 2, H, head_dim=2, generator=g
    ),
    "TransformerDecoderLayer": lambda g: nn.TransformerDecoderLayer(
        D, 1, H, generator=g
    ),
    "Tagger": Tagger,
    "Tied": lambda g: Tied(),
    "Dropout": lambda g: nn.Dropout(0.5),
}


@given(name=st.sampled_from(sorted(MODELS)), seed=st.integers(0, 99))
def test_there_and_back_changes_nothing(name, seed):
    model, other = (MODELS[name](mg.Generator(s)) for s in (seed, seed + 100))
    nn.load_torch_state_dict(other, nn.torch_state_dict(model))
    ours, theirs = model.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for key in ours:
        np.testing.assert_array_equal(theirs[key], ours[key], strict=True)


def test_names_are_pytorchs_and_shapes_are_out_by_in():
    state = nn.torch_state_dict(Tagger())
    assert {name: array.shape for name, array in state.items()} == {
        "scale": (4,),
        "embedding.weight": (5, D),
        "lstm.weight_ih_l0": (4 * H, D),
        "lstm.weight_hh_l0": (4 * H, H),
        "lstm.bias_ih_l0": (4 * H,),
        "lstm.bias_hh_l0": (4 * H,),
        "head.0.weight": (4, H),
        "head.0.bias": (4,),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_layers_have_pytorchs_names(kind):
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    expected = {name + SUFFIX[kind] for name in names}
    assert set(nn.torch_state_dict(kind(D, H))) == expected


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
def test_an_lstms_gates_change_places(kind):
    """Theirs stand as i, f, g, o, ours as i, f, o, g."""
    module, suffix = kind(D, H), SUFFIX[kind]
    state = nn.torch_state_dict(module)
    gates = np.repeat([1.0, 2.0, 3.0, 4.0], H)
    state[f"weight_ih{suffix}"][:] = gates[:, None]
    state[f"weight_hh{suffix}"][:] = 10 * gates[:, None]
    state[f"bias_ih{suffix}"][:] = 100 * gates
    nn.load_torch_state_dict(module, state)
    ours = np.repeat([1.0, 2.0, 4.0, 3.0], H)
    np.testing.assert_array_equal(module.Wx.numpy(), np.tile(ours, (D, 1)))
    np.testing.assert_array_equal(module.Wh.numpy(), np.tile(10 * ours, (H, 1)))
    np.testing.assert_array_equal(module.b.numpy(), 100 * ours)


@pytest.mark.parametrize("kind", [nn.RNN, nn.RNNCell, nn.LSTM, nn.LSTMCell])
def test_two_biases_become_their_sum_and_the_second_comes_back_as_zeros(kind):
    module, suffix = kind(D, H), SUFFIX[kind]
    state = nn.torch_state_dict(module)
    state[f"bias_ih{suffix}"][:] = 1
    state[f"bias_hh{suffix}"][:] = 2
    nn.load_torch_state_dict(module, state)
    np.testing.assert_array_equal(module.b.numpy(), 3)
    back = nn.torch_state_dict(module)
    np.testing.assert_array_equal(back[f"bias_ih{suffix}"], 3)
    np.testing.assert_array_equal(back[f"bias_hh{suffix}"], 0)


def test_what_comes_out_is_a_copy_in_one_piece():
    module = nn.Linear(D, H)
    state = nn.torch_state_dict(module)
    assert all(array.flags.c_contiguous for array in state.values())
    state["bias"][:] = 9
    np.testing.assert_array_equal(module.b.numpy(), 0)


def test_parameters_keep_their_dtype_and_stay_the_same_objects():
    module = nn.Linear(D, H, dtype="float64")
    weight = module.W
    state = {"weight": np.ones((H, D), "float32"), "bias": mg.ones(H)}
    nn.load_torch_state_dict(module, state)
    assert module.W is weight
    assert module.W.dtype == np.float64
    np.testing.assert_array_equal(module.b.numpy(), 1)


def test_a_shared_weight_stands_under_each_of_its_names():
    model = Tied()
    names = ["first.weight", "first.bias", "second.weight"]
    assert list(nn.torch_state_dict(model)) == [*names, "again.weight", "again.bias"]


def test_a_shared_weight_with_two_values_is_refused():
    model = Tied()
    before = model.state_dict()
    state = nn.torch_state_dict(model)
    state["second.weight"] = state["second.weight"] + 1
    with pytest.raises(ValueError, match=r"second\.W is shared") as error:
        nn.load_torch_state_dict(model, state)
    says(error, "two different values", "nothing was loaded", "without sharing")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_everything_that_does_not_fit_is_named_and_nothing_is_loaded():
    model = Tagger()
    before = model.state_dict()
    state = nn.torch_state_dict(model)
    del state["head.0.bias"]
    state["lstm.weight_ih_l1"] = np.ones(3)
    state["embedding.weight"] = np.ones((6, D))
    state["scale"] = np.ones(4)
    with pytest.raises(ValueError, match="load_torch_state_dict") as error:
        nn.load_torch_state_dict(model, state)
    says(
        error,
        "Tagger",
        "missing: head.0.bias",
        "unexpected: lstm.weight_ih_l1",
        "embedding.weight (expected (5, 3), the state has (6, 3))",
        "nothing was loaded",
        "one layer, one direction",
    )
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_every_layer_with_parameters_has_a_layout():
    exported = [getattr(nn, name) for name in nn.__all__]
    kinds = {k for k in exported if isinstance(k, type) and issubclass(k, nn.Module)}
    without = {nn.Module, nn.ModuleList, nn.Sequential, nn.Dropout}
    # Their parts have names that PyTorch's have too, or PyTorch has no such layer.
    without |= {nn.TransformerEncoder, nn.TransformerDecoder, nn.FeedForward}
    without |= {nn.MaxPool2d, nn.AvgPool2d}
    without |= {nn.LearnedPositions, nn.SinusoidalPositions}
    assert kinds - without == set(torch_weights.LAYOUTS)


def test_a_layer_of_ones_own_adds_its_layout(monkeypatch):
    class Scale(nn.Module):
        def __init__(self):
            self.factor = nn.Parameter(np.ones(3))

    class Narrower(Scale):
        pass

    class Logarithm(torch_weights.Layout):
        def theirs(self, own):
            return {"log_factor": np.log(own["factor"])}

        def ours(self, state):
            return {"factor": np.exp(state["log_factor"])}

    monkeypatch.setitem(torch_weights.LAYOUTS, Scale, Logarithm({}))
    model = nn.Sequential(Narrower())
    nn.load_torch_state_dict(model, {"0.log_factor": np.array([0.0, 1.0, 2.0])})
    np.testing.assert_allclose(model[0].factor.numpy(), np.exp([0, 1, 2]))
    assert list(nn.torch_state_dict(model)) == ["0.log_factor"]


def test_gradients_in_pytorchs_layout():
    module = nn.LSTM(D, H)
    outputs, _ = module(mg.ones((1, 2, D)))
    outputs.sum().backward()
    gradients = torch_weights.in_torch_layout(module, lambda p: p.grad.numpy())
    i, f, o, g = np.split(module.b.grad.numpy(), 4)
    np.testing.assert_array_equal(gradients["bias_ih_l0"], np.concatenate([i, f, g, o]))


@pytest.mark.parametrize("state", [[1], None, "model.pt"])
def test_a_state_is_a_dictionary(state):
    with pytest.raises(TypeError, match="load_torch_state_dict: the state is a"):
        nn.load_torch_state_dict(nn.Linear(3, 2), state)


@pytest.mark.parametrize("value", [[[1.0], [2.0, 3.0]], np.full((2, 3), "word"), None])
def test_what_is_no_array_of_numbers_is_named(value):
    module = nn.Linear(3, 2)
    state = nn.torch_state_dict(module) | {"weight": value}
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        nn.load_torch_state_dict(module, state)
    says(error, f"not an array of real numbers: weight (a {type(value).__name__})")


def test_a_state_that_stands_deeper_is_found():
    module = nn.Linear(3, 2)
    state = nn.torch_state_dict(module)
    with pytest.raises(ValueError, match="no weights itself") as error:
        nn.load_torch_state_dict(module, {"epoch": 3, "net": {"ema": state}})
    says(
        error,
        "nothing was loaded",
        "load_torch_state_dict(module, state['net']['ema'])",
    )
