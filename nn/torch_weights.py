"""What do PyTorch's state dictionaries call our weights, and how do they lay them out?

PyTorch's weights are (out, in), ours (in, out). Its recurrent layers have two biases
where one does, and an LSTM's gates in the order i, f, g, o; ours stand as i, f, o, g.
Its attention keeps three projections in one matrix. `LAYOUTS` has an entry for each
kind of module whose weights have other names or forms there: a layer that is added
adds its entry. What a model itself owns keeps its name and its layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad.io.torch_files import state_dicts_in
from nn.conv import Conv2d
from nn.embedding import Embedding
from nn.linear import Linear
from nn.module import Module, Parameter
from nn.multihead import MultiHeadAttention
from nn.norm import LayerNorm
from nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from nn.transformer import TransformerDecoderLayer, TransformerEncoderLayer

Arrays = dict[str, np.ndarray]


class Layout(NamedTuple):
    """One kind of module's parameters here and in PyTorch.

    Both functions take and give arrays by name, without the module's place in the
    model; `ours` gets those that `theirs` gave names and shapes to. Names of what
    modules inside it own have dots, and stand as PyTorch has them already.
    """

    theirs: Callable[[Arrays], Arrays]
    ours: Callable[[Arrays], Arrays]


# -- into and out of a model -------------------------------------------------------


def load_torch_state_dict(module: Module, state: Mapping[str, Any]) -> None:
    """Copy the weights of a PyTorch state dictionary into a module, all or none.

    Names and layouts are converted, and each parameter keeps its own dtype. The values
    are NumPy arrays, as `mg.io.load_torch` and `mg.io.load_safetensors` give them, or
    PyTorch's own tensors on the CPU.

    Raises: ValueError that names every missing, unexpected and misshapen key.
    """
    expected = torch_state_dict(module)
    _require_state_dict(expected, state)
    problems = _mismatches(expected, state)
    if problems:
        raise ValueError(
            f"load_torch_state_dict: the state does not fit {type(module).__name__}, "
            f"so nothing was loaded: {'; '.join(problems)}. Build the module with the "
            "names and sizes that it has in PyTorch (one layer, one direction, and "
            "with biases where it is recurrent), or rename keys of the state."
        )
    arrays = {name: _plain(state[name]) for name in expected}
    loaded: dict[int, np.ndarray] = {}
    for parameter, name, array in _converted(module, arrays):
        first = loaded.setdefault(id(parameter), array)
        if not np.array_equal(first, array, equal_nan=True):
            raise ValueError(
                f"load_torch_state_dict: {name} is shared with another layer of this "
                f"{type(module).__name__}, but the state has two different values for "
                "it, so nothing was loaded. Build the module without sharing, or make "
                "the two equal."
            )
    parameters = list(module.parameters())
    tensors = [mg.Tensor(loaded[id(p)], p.dtype, device=p.device) for p in parameters]
    for parameter, tensor in zip(parameters, tensors, strict=True):
        parameter.data = tensor


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
    own = {name: values(parameter) for name, parameter in _own_parameters(module)}
    for place, child in _children(module):
        inside = in_torch_layout(child, values)
        own |= {f"{place}.{name}": array for name, array in inside.items()}
    state = _layout(module).theirs(own)
    return {name: np.array(array, order="C") for name, array in state.items()}


def _converted(
    module: Module, state: Arrays, prefix: str = ""
) -> Iterator[tuple[Parameter, str, np.ndarray]]:
    """Each place's parameters with their full names and their values in the state."""
    arrays = _layout(module).ours(state)
    for name, parameter in _own_parameters(module):
        yield parameter, prefix + name, arrays[name]
    for place, child in _children(module):
        start = f"{place}."
        inside = {
            n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)
        }
        yield from _converted(child, inside, prefix + start)


def _plain(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, mg.Tensor) else np.asarray(value)


def _children(module: Module) -> list[tuple[str, Module]]:
    """What stands in a module, a shared one once for each of its names."""
    return [
        (n, child) for n, child in vars(module).items() if isinstance(child, Module)
    ]


def _own_parameters(module: Module) -> list[tuple[str, Parameter]]:
    return [(n, p) for n, p in vars(module).items() if isinstance(p, Parameter)]


def _layout(module: Module) -> Layout:
    """The layout of the module's class, or of the nearest that it is made from."""
    found = (LAYOUTS[kind] for kind in type(module).__mro__ if kind in LAYOUTS)
    return next(found, SAME)


def _require_state_dict(expected: Arrays, state: Mapping[str, Any]) -> None:
    """Raise where weights stand deeper, as scripts save them beside an epoch, say."""
    places = state_dicts_in(state)
    if places and not any(name in state for name in expected):
        raise ValueError(
            "load_torch_state_dict: the state has no weights itself, so nothing was "
            f"loaded; it holds state dictionaries at {', '.join(places)}. Load one of "
            f"them: load_torch_state_dict(module, state{places[0]})."
        )


def _mismatches(expected: Arrays, state: Mapping[str, Any]) -> list[str]:
    """What keeps a state from fitting, one phrase for each kind of problem."""
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    misshapen = [
        f"{name} (PyTorch's for this module is {array.shape}, the state has "
        f"{tuple(np.shape(state[name]))})"
        for name, array in expected.items()
        if name in state and np.shape(state[name]) != array.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    return [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]


# -- the layouts -------------------------------------------------------------------


def _renamed(names: dict[str, str], transposed: tuple[str, ...] = ()) -> Layout:
    """Other names for the same arrays, some of them transposed."""
    back = {theirs: ours for ours, theirs in names.items()}

    def theirs(own: Arrays) -> Arrays:
        turned = {n: a.T if n in transposed else a for n, a in own.items()}
        return {names.get(name, name): array for name, array in turned.items()}

    def ours(state: Arrays) -> Arrays:
        own = {back.get(name, name): array for name, array in state.items()}
        return {n: a.T if n in transposed else a for n, a in own.items()}

    return Layout(theirs, ours)


def _recurrent(suffix: str, reorder: Callable[[np.ndarray], np.ndarray]) -> Layout:
    """Weights (gates * H, in) and two biases, of which we have the sum."""
    weights = _renamed(
        {"Wx": f"weight_ih{suffix}", "Wh": f"weight_hh{suffix}", "b": _FIRST + suffix},
        transposed=("Wx", "Wh"),
    )

    def theirs(own: Arrays) -> Arrays:
        turned = weights.theirs(own)
        state = {name: reorder(array) for name, array in turned.items()}
        return {**state, _SECOND + suffix: np.zeros_like(own["b"])}

    def ours(state: Arrays) -> Arrays:
        first, second = state[_FIRST + suffix], state[_SECOND + suffix]
        joined = {**state, _FIRST + suffix: first + second}
        del joined[_SECOND + suffix]
        return weights.ours({name: reorder(array) for name, array in joined.items()})

    return Layout(theirs, ours)


def _gru(suffix: str) -> Layout:
    """The gates' order and the two biases are the same."""
    names = {
        "Wx": f"weight_ih{suffix}",
        "Wh": f"weight_hh{suffix}",
        "bx": _FIRST + suffix,
        "bh": _SECOND + suffix,
    }
    return _renamed(names, transposed=("Wx", "Wh"))


def _moved(places: dict[str, str]) -> Layout:
    """Other names for modules inside."""
    back = {theirs: ours for ours, theirs in places.items()}
    return Layout(lambda own: _in_place(own, places), lambda s: _in_place(s, back))


def _in_place(state: Arrays, places: dict[str, str]) -> Arrays:
    """Move what stands in one module to another."""
    moved = {}
    for name, array in state.items():
        fits = (place for place in places if name.startswith(f"{place}."))
        place = next(fits, "")
        moved[places.get(place, "") + name.removeprefix(place)] = array
    return moved


def _packed() -> Layout:
    """Queries, keys and values projected by one matrix, (3 * H * head_dim, D)."""
    out = _moved({"out": "out_proj"})

    def theirs(own: Arrays) -> Arrays:
        packed = {
            f"in_proj_{kind}": np.concatenate(
                [own[f"{p}.{kind}"] for p in _PROJECTIONS]
            )
            for kind in ("weight", "bias")
        }
        back = {name: a for name, a in own.items() if name.startswith("out.")}
        return packed | out.theirs(back)

    def ours(state: Arrays) -> Arrays:
        own = out.ours(state)
        for kind in ("weight", "bias"):
            parts = np.split(own.pop(f"in_proj_{kind}"), len(_PROJECTIONS))
            names = (f"{place}.{kind}" for place in _PROJECTIONS)
            own |= dict(zip(names, parts, strict=True))
        return own

    return Layout(theirs, ours)


def _as_they_are(array: np.ndarray) -> np.ndarray:
    return array


def _last_gates_swapped(array: np.ndarray) -> np.ndarray:
    """From i, f, g, o to i, f, o, g along the first axis, and back again."""
    i, f, third, fourth = np.split(array, 4)
    return np.concatenate([i, f, fourth, third])


_FIRST, _SECOND = "bias_ih", "bias_hh"
_PROJECTIONS = ("query", "key", "value")
_LAYER = "_l0"  # PyTorch numbers the layers of a stack; ours has one

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
    MultiHeadAttention: _packed(),
    TransformerEncoderLayer: _moved(
        {
            "attention": "self_attn",
            "feed_forward.first": "linear1",
            "feed_forward.second": "linear2",
            "attention_norm": "norm1",
            "feed_forward_norm": "norm2",
        }
    ),
    TransformerDecoderLayer: _moved(
        {
            "attention": "self_attn",
            "cross_attention": "multihead_attn",
            "feed_forward.first": "linear1",
            "feed_forward.second": "linear2",
            "attention_norm": "norm1",
            "cross_attention_norm": "norm2",
            "feed_forward_norm": "norm3",
        }
    ),
}
