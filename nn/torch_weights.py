"""What do PyTorch's state dictionaries call our weights, and how do they lay them out?

PyTorch's weights are (out, in), ours (in, out). Its recurrent layers have two biases
where one does, and an LSTM's gates in the order i, f, g, o; ours stand as i, f, o, g.
`LAYOUTS` has an entry for each kind of module with parameters of its own: a layer that
is added adds its entry. What a model itself owns keeps its name and its layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from nn.embedding import Embedding
from nn.linear import Linear
from nn.module import Module, Parameter
from nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

Arrays = dict[str, np.ndarray]


class Layout(NamedTuple):
    """One kind of module's own parameters here and in PyTorch.

    Both functions take and give arrays by name, without the module's place in the
    model; `ours` gets those that `theirs` gave names and shapes to.
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
    state: Arrays = {}
    for prefix, owner in _places(module, ""):
        own = {name: values(p) for name, p in _own_parameters(owner)}
        for name, array in _layout(owner).theirs(own).items():
            state[prefix + name] = np.array(array, order="C")
    return state


def _converted(
    module: Module, state: Arrays
) -> Iterator[tuple[Parameter, str, np.ndarray]]:
    """Each place's parameters with their full names and their values in the state."""
    for prefix, owner in _places(module, ""):
        own = dict(_own_parameters(owner))
        shown = {name: p.numpy() for name, p in own.items()}
        names = _layout(owner).theirs(shown)
        arrays = _layout(owner).ours({name: state[prefix + name] for name in names})
        for name, parameter in own.items():
            yield parameter, prefix + name, arrays[name]


def _plain(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, mg.Tensor) else np.asarray(value)


def _places(module: Module, prefix: str) -> Iterator[tuple[str, Module]]:
    """A module and all inside it, a shared one once for each of its names."""
    yield prefix, module
    for name, child in vars(module).items():
        if isinstance(child, Module):
            yield from _places(child, f"{prefix}{name}.")


def _own_parameters(module: Module) -> list[tuple[str, Parameter]]:
    return [(n, p) for n, p in vars(module).items() if isinstance(p, Parameter)]


def _layout(module: Module) -> Layout:
    """The layout of the module's class, or of the nearest that it is made from."""
    found = (LAYOUTS[kind] for kind in type(module).__mro__ if kind in LAYOUTS)
    return next(found, SAME)


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


def _as_they_are(array: np.ndarray) -> np.ndarray:
    return array


def _last_gates_swapped(array: np.ndarray) -> np.ndarray:
    """From i, f, g, o to i, f, o, g along the first axis, and back again."""
    i, f, third, fourth = np.split(array, 4)
    return np.concatenate([i, f, fourth, third])


_FIRST, _SECOND = "bias_ih", "bias_hh"
_LAYER = "_l0"  # PyTorch numbers the layers of a stack; ours has one

SAME = Layout(dict, dict)

LAYOUTS: dict[type[Module], Layout] = {
    Linear: _renamed({"W": "weight", "b": "bias"}, transposed=("W",)),
    Embedding: _renamed({"W": "weight"}),
    RNNCell: _recurrent("", _as_they_are),
    RNN: _recurrent(_LAYER, _as_they_are),
    LSTMCell: _recurrent("", _last_gates_swapped),
    LSTM: _recurrent(_LAYER, _last_gates_swapped),
    GRUCell: _gru(""),
    GRU: _gru(_LAYER),
}
