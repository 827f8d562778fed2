"""PyTorch's state dictionaries: its names and layouts of our weights.

PyTorch's weights are (out, in), ours (in, out). Its recurrent layers have two biases
where one does, and an LSTM's gates in the order i, f, g, o; ours stand as i, f, o, g.
`LAYOUTS` has an entry for each kind of module whose weights have other names or forms
there: a layer that is added adds its entry. What a model itself owns keeps its name and
its layout.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minigrad.io.torch_files import state_dicts_in
from nn.attention import MultiHeadAttention
from nn.conv import Conv2d
from nn.embedding import Embedding
from nn.gru import GRU, GRUCell
from nn.linear import Linear
from nn.lstm import LSTM, LSTMCell
from nn.module import Module, Parameter
from nn.norm import LayerNorm
from nn.rnn import RNN, RNNCell
from nn.states import assign, check_mapping, check_state, real_array
from nn.transformer import TransformerDecoderLayer, TransformerEncoderLayer

Arrays = dict[str, np.ndarray]


class Layout(NamedTuple):
    """One kind of module's parameters here and in PyTorch.

    Both functions take and give arrays by name, without the module's own name; `ours`
    gets those that `theirs` gave names and shapes to. Names from modules inside have
    dots, and are PyTorch's already.
    """

    theirs: Callable[[Arrays], Arrays]
    ours: Callable[[Arrays], Arrays]


# -- into and out of a model -------------------------------------------------------


def load_torch_state_dict(module: Module, state: Mapping[str, Any]) -> None:
    """Copy the weights of a PyTorch state dictionary into a module, all or none.

    Names and layouts are converted, and each parameter keeps its own dtype. The values
    are NumPy arrays, as `mg.io.load_torch` and `mg.io.load_safetensors` give them, or
    PyTorch's own tensors on the CPU.

    Raises: TypeError for what is no dictionary; ValueError that names every missing,
    unexpected, misshapen and not numeric key.
    """
    call, kind = "load_torch_state_dict", type(module).__name__
    expected = {name: array.shape for name, array in torch_state_dict(module).items()}
    check_mapping(call, state)
    _refuse_nested(call, expected, state)
    way_out = (
        "Build the module with the names and sizes that it has in PyTorch (one layer, "
        "one direction, and with biases where it is recurrent), or rename keys of the "
        "state."
    )
    has = "PyTorch's for this module is"
    check_state(call, kind, state, expected, way_out, has=has)
    arrays: Any = {name: real_array(state[name]) for name in expected}
    loaded: dict[int, tuple[Parameter, np.ndarray]] = {}
    for parameter, name, array in _converted(module, arrays):
        _, first = loaded.setdefault(id(parameter), (parameter, array))
        if not np.array_equal(first, array, equal_nan=True):
            raise ValueError(
                f"{call}: {name} is shared with another layer of this {kind}, but the "
                "state has two different values for it, so nothing was loaded. Build "
                "the module without sharing, or make the two equal."
            )
    assign(loaded.values())


def torch_state_dict(module: Module) -> Arrays:
    """Give copies of a module's weights under PyTorch's names, in its layouts.

    For `torch_module.load_state_dict` make tensors of them with `torch.from_numpy`;
    `mg.io.save_safetensors` writes them to a file. Where PyTorch has two biases and we
    have one, the second is zeros.
    """
    return in_torch_layout(module, lambda parameter: parameter.numpy())


def in_torch_layout(
    module: Module, values: Callable[[Parameter], np.ndarray]
) -> Arrays:
    """Give a value for each parameter, such as its gradient, as a PyTorch state."""
    own = {name: values(parameter) for name, parameter in _own(module, Parameter)}
    for child_name, child in _own(module, Module):
        inside = in_torch_layout(child, values)
        own |= {f"{child_name}.{name}": array for name, array in inside.items()}
    state = _layout(module).theirs(own)
    return {name: np.array(array, order="C") for name, array in state.items()}


def _converted(
    module: Module, state: Arrays, prefix: str = ""
) -> Iterator[tuple[Parameter, str, np.ndarray]]:
    """Each parameter with its full name and its value, once for each of its names."""
    arrays = _layout(module).ours(state)
    for name, parameter in _own(module, Parameter):
        yield parameter, prefix + name, arrays[name]
    for child_name, child in _own(module, Module):
        start = f"{child_name}."
        inside = {
            n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)
        }
        yield from _converted(child, inside, prefix + start)


def _own(module: Module, kind: type) -> list[tuple[str, Any]]:
    """A module's attributes of a kind, a shared one once for each of its names."""
    return [(n, value) for n, value in vars(module).items() if isinstance(value, kind)]


def _layout(module: Module) -> Layout:
    """The layout of the module's class, or of its nearest base class that has one."""
    found = (LAYOUTS[kind] for kind in type(module).__mro__ if kind in LAYOUTS)
    return next(found, SAME)


def _refuse_nested(
    call: str, expected: Mapping[str, Any], state: Mapping[str, Any]
) -> None:
    """Raise where the weights are nested, as scripts save them beside an epoch, say."""
    places = state_dicts_in(state)
    if places and not any(name in state for name in expected):
        raise ValueError(
            f"{call}: the state has no weights itself, so nothing was loaded; it holds "
            f"state dictionaries at {', '.join(places)}. Load one of them: "
            f"{call}(module, state{places[0]})."
        )


# -- the layouts -------------------------------------------------------------------


def _renamed(names: dict[str, str], transposed: tuple[str, ...] = ()) -> Layout:
    """Other names for arrays or for modules inside, some of the arrays transposed."""
    back = {theirs: ours for ours, theirs in names.items()}

    def theirs(own: Arrays) -> Arrays:
        turned = {n: a.T if n in transposed else a for n, a in own.items()}
        return {_new_name(n, names): array for n, array in turned.items()}

    def ours(state: Arrays) -> Arrays:
        own = {_new_name(n, back): array for n, array in state.items()}
        return {n: a.T if n in transposed else a for n, a in own.items()}

    return Layout(theirs, ours)


def _new_name(name: str, names: dict[str, str]) -> str:
    """The name with its beginning, an array's or module's old name, replaced."""
    fits = (old for old in names if f"{name}.".startswith(f"{old}."))
    old = next(fits, "")
    return names.get(old, "") + name.removeprefix(old)


def _recurrent(suffix: str, reorder: Callable[[np.ndarray], np.ndarray]) -> Layout:
    """Weights (gates * H, in) and two biases, of which we have the sum."""
    first, second = f"bias_ih{suffix}", f"bias_hh{suffix}"
    names = {"Wx": f"weight_ih{suffix}", "Wh": f"weight_hh{suffix}", "b": first}
    weights = _renamed(names, transposed=("Wx", "Wh"))

    def theirs(own: Arrays) -> Arrays:
        state = {name: reorder(array) for name, array in weights.theirs(own).items()}
        return {**state, second: np.zeros_like(own["b"])}

    def ours(state: Arrays) -> Arrays:
        joined = {**state, first: state[first] + state[second]}
        del joined[second]
        return weights.ours({name: reorder(array) for name, array in joined.items()})

    return Layout(theirs, ours)


def _gru(suffix: str) -> Layout:
    """The gates' order and the two biases are the same."""
    weights = {"Wx": f"weight_ih{suffix}", "Wh": f"weight_hh{suffix}"}
    biases = {"bx": f"bias_ih{suffix}", "bh": f"bias_hh{suffix}"}
    return _renamed(weights | biases, transposed=("Wx", "Wh"))


def _as_they_are(array: np.ndarray) -> np.ndarray:
    return array


def _last_gates_swapped(array: np.ndarray) -> np.ndarray:
    """From i, f, g, o to i, f, o, g along the first axis, and back again."""
    i, f, third, fourth = np.split(array, 4)
    return np.concatenate([i, f, fourth, third])


_LAYER = "_l0"  # PyTorch numbers the layers of a stack; ours has one
_FEED_FORWARD = {"feed_forward.first": "linear1", "feed_forward.second": "linear2"}

SAME = Layout(dict, dict)

LAYOUTS: dict[type[Module], Layout] = {
    Conv2d: _renamed({"W": "weight", "b": "bias"}),
    Linear: _renamed({"W": "weight", "b": "bias"}, transposed=("W",)),
    Embedding: _renamed({"W": "weight"}),
    RNNCell: _recurrent("", _as_they_are),
    RNN: _recurrent(_LAYER, _as_they_are),
    LSTMCell: _recurrent("", _last_gates_swapped),
    LSTM: _recurrent(_LAYER, _last_gates_swapped),
    GRUCell: _gru(""),
    GRU: _gru(_LAYER),
    LayerNorm: _renamed({"W": "weight", "b": "bias"}),
    MultiHeadAttention: _renamed(
        {"Wqkv": "in_proj_weight", "bqkv": "in_proj_bias", "out": "out_proj"},
        transposed=("Wqkv",),
    ),
    TransformerEncoderLayer: _renamed(
        {
            "attention": "self_attn",
            **_FEED_FORWARD,
            "attention_norm": "norm1",
            "feed_forward_norm": "norm2",
        }
    ),
    TransformerDecoderLayer: _renamed(
        {
            "attention": "self_attn",
            "cross_attention": "multihead_attn",
            **_FEED_FORWARD,
            "attention_norm": "norm1",
            "cross_attention_norm": "norm2",
            "feed_forward_norm": "norm3",
        }
    ),
}
