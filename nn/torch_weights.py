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
from nn.linear import Linear
from nn.module import Module, Parameter, attributes_of
from nn.norm import LayerNorm
from nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from nn.states import assign, check_mapping, check_state, real_array
from nn.transformer import TransformerDecoderLayer, TransformerEncoderLayer

Arrays = dict[str, np.ndarray]


class Layout(NamedTuple):
    """How the parameters of one kind of module stand in PyTorch.

    `names` has PyTorch's name of each array, or of a module inside, that has another
    one there; `reorder`, its own inverse, goes over arrays in PyTorch's form; ours is
    the sum of PyTorch's bias and a `second` one.
    """

    names: dict[str, str]
    transposed: tuple[str, ...] = ()
    reorder: Callable[[np.ndarray], np.ndarray] = np.asarray
    second: str = ""

    def theirs(self, own: Arrays) -> Arrays:
        """Give PyTorch's arrays by name."""
        turned = {n: a.T if n in self.transposed else a for n, a in own.items()}
        state = {_new_name(n, self.names): self.reorder(a) for n, a in turned.items()}
        if self.second:
            state[self.second] = np.zeros_like(own["b"])
        return state

    def ours(self, state: Arrays) -> Arrays:
        """Give ours by name, from arrays with the names and shapes of `theirs`."""
        if self.second:
            first = self.names["b"]
            state = {**state, first: state[first] + state[self.second]}
            del state[self.second]
        back = {theirs: ours for ours, theirs in self.names.items()}
        own = {_new_name(n, back): self.reorder(a) for n, a in state.items()}
        return {n: a.T if n in self.transposed else a for n, a in own.items()}


def _new_name(name: str, names: dict[str, str]) -> str:
    """The name with its beginning, an array's or module's old name, replaced."""
    fits = (old for old in names if f"{name}.".startswith(f"{old}."))
    old = next(fits, "")
    return names.get(old, "") + name.removeprefix(old)


# -- into and out of a model -------------------------------------------------------


def load_torch_state_dict(module: Module, state: Mapping[str, Any]) -> None:
    """Copy the weights of a PyTorch state dictionary into a module, all or none.

    Each parameter keeps its own dtype. The values are NumPy arrays, as
    `mg.io.load_torch` and `mg.io.load_safetensors` give them, or PyTorch's own tensors
    on the CPU.

    Raises: as `Module.check_state_dict`.
    """
    call, kind = "load_torch_state_dict", type(module).__name__
    expected = {name: array.shape for name, array in torch_state_dict(module).items()}
    check_mapping(call, state)
    if expected.keys().isdisjoint(state):
        _refuse_nested(call, state_dicts_in(state))
    way_out = (
        f"Build {kind} with the names and sizes that it has in PyTorch (one layer, one "
        "direction, and with biases where it is recurrent), or rename keys."
    )
    check_state(call, state, expected, way_out)
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
    own = {name: values(p) for name, p in attributes_of(module, Parameter)}
    for child, inner in attributes_of(module, Module):
        inside = in_torch_layout(inner, values)
        own |= {f"{child}.{name}": array for name, array in inside.items()}
    state = _layout(module).theirs(own)
    return {name: np.array(array, order="C") for name, array in state.items()}


def _converted(
    module: Module, state: Arrays, prefix: str = ""
) -> Iterator[tuple[Parameter, str, np.ndarray]]:
    """Each parameter with its full name and its value, once for each of its names."""
    arrays = _layout(module).ours(state)
    for name, parameter in attributes_of(module, Parameter):
        yield parameter, prefix + name, arrays[name]
    for name, child in attributes_of(module, Module):
        start = f"{name}."
        inside = {n: a for n, a in arrays.items() if n.startswith(start)}
        inside = {n.removeprefix(start): a for n, a in inside.items()}
        yield from _converted(child, inside, prefix + start)


def _refuse_nested(call: str, places: list[str]) -> None:
    """Raise where the weights are nested, as scripts save them beside an epoch, say."""
    if places:
        raise ValueError(
            f"{call}: the state has no weights itself, so nothing was loaded; it holds "
            f"state dictionaries at {', '.join(places)}. Load one of them: "
            f"{call}(module, state{places[0]})."
        )


def _layout(module: Module) -> Layout:
    """The layout of the module's class, or of its nearest base class that has one."""
    found = (LAYOUTS[kind] for kind in type(module).__mro__ if kind in LAYOUTS)
    return next(found, SAME)


# -- the layouts -------------------------------------------------------------------


def _in_a_stack(cell: Layout) -> Layout:
    """PyTorch numbers the layers of a stack; ours has one."""
    names = {ours: f"{theirs}_l0" for ours, theirs in cell.names.items()}
    return cell._replace(names=names, second=cell.second and f"{cell.second}_l0")


def _last_gates_swapped(array: np.ndarray) -> np.ndarray:
    """From i, f, g, o to i, f, o, g along the first axis, and back again."""
    i, f, third, fourth = np.split(array, 4)
    return np.concatenate([i, f, fourth, third])


_AFFINE = {"W": "weight", "b": "bias"}
_HIDDEN = {"Wx": "weight_ih", "Wh": "weight_hh"}
_RNN = Layout({**_HIDDEN, "b": "bias_ih"}, ("Wx", "Wh"), second="bias_hh")
_LSTM = _RNN._replace(reorder=_last_gates_swapped)
_GRU = Layout({**_HIDDEN, "bx": "bias_ih", "bh": "bias_hh"}, ("Wx", "Wh"))
_ENCODER = {
    "attention": "self_attn",
    "feed_forward.first": "linear1",
    "feed_forward.second": "linear2",
    "attention_norm": "norm1",
    "feed_forward_norm": "norm2",
}

SAME = Layout({})

LAYOUTS: dict[type[Module], Layout] = {
    Conv2d: Layout(_AFFINE),
    Linear: Layout(_AFFINE, transposed=("W",)),
    Embedding: Layout({"W": "weight"}),
    RNNCell: _RNN,
    RNN: _in_a_stack(_RNN),
    LSTMCell: _LSTM,
    LSTM: _in_a_stack(_LSTM),
    GRUCell: _GRU,
    GRU: _in_a_stack(_GRU),
    LayerNorm: Layout(_AFFINE),
    MultiHeadAttention: Layout(
        {"Wqkv": "in_proj_weight", "bqkv": "in_proj_bias", "out": "out_proj"},
        transposed=("Wqkv",),
    ),
    TransformerEncoderLayer: Layout(_ENCODER),
    TransformerDecoderLayer: Layout(
        {
            **_ENCODER,
            "cross_attention": "multihead_attn",
            "cross_attention_norm": "norm2",
            "feed_forward_norm": "norm3",
        }
    ),
}
