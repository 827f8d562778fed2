"""What is a layer? Parameters, and modules that hold parameters and other modules.

A module is an ordinary object with ordinary attributes; its parameters are found among
them, in the order of assignment. There is no second register that could disagree.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

import minigrad as mg
from minigrad.tape import depend_on, recording, tell
from nn.states import assign, check_state, real_array

CONTAINERS = (list, tuple, dict, set, frozenset)


class Parameter(mg.Tensor):
    """A Tensor that a module trains: it requires gradients and a module finds it.

    With `requires_grad=False` it is frozen: saved, loaded and moved with its module,
    but not trained.

    Shapes: `data` of any shape; it is copied.
    """

    def __init__(
        self,
        data: Any,
        dtype: Any = None,
        device: Any = None,
        *,
        requires_grad: bool = True,
    ) -> None:
        super().__init__(data, dtype, requires_grad, device)


class Module:
    """Base class of layers and models: assign parameters and modules, write `forward`.

    ```python
    class Model(nn.Module):
        def __init__(self):
            self.hidden = nn.Linear(784, 100)
            self.out = nn.Linear(100, 10)

        def forward(self, x):
            return self.out(mg.relu(self.hidden(x)))
    ```
    """

    _training: bool = True
    _changes = 0  # of attributes: a compiled step depends on them

    @property
    def training(self) -> bool:
        """Whether the module trains: `train` and `eval` set it for all inside."""
        return depend_on(self._mode) if recording.observers else self._training

    @training.setter
    def training(self, mode: bool) -> None:
        object.__setattr__(self, "_training", mode)

    def _mode(self) -> bool:
        return self._training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every module that is called writes its own."""
        kind = type(self).__name__
        raise NotImplementedError(
            f"{kind} was called, but {kind} has no forward method, so there is nothing "
            f"to compute. Write `def forward(self, x): ...` in class {kind}."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Give what `forward` gives."""
        if recording.observers:
            depend_on(self._count_changes)
        return self.forward(*args, **kwargs)

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        _refuse_hidden(self, name, value, _first_hidden(value, set()))
        if name != "training":
            tell("wrote", value, f"assigning {name}")
            object.__setattr__(self, "_changes", self._changes + 1)
        object.__setattr__(self, name, value)

    def _count_changes(self) -> int:
        return self._changes

    def __getattr__(self, name: str) -> Any:
        # Python comes here only when the ordinary look-up has found nothing, or when
        # a property failed with an AttributeError: looked up again, it shows its own.
        if any(name in vars(kind) for kind in type(self).__mro__):
            return object.__getattribute__(self, name)
        way_out = "Assign it in __init__ before it is read."
        for close in difflib.get_close_matches(name, dir(self), n=1):
            way_out = f"Did you mean {close!r}?"
        kind = type(self).__name__
        raise AttributeError(f"{kind} has no attribute {name!r}. {way_out}")

    def __repr__(self) -> str:
        own = [f"{n} {p.shape}" for n, p in attributes_of(self, Parameter)]
        inner = [f"{n}: {m!r}" for n, m in attributes_of(self, Module)]
        head = f"{type(self).__name__}({', '.join(own)}"
        if not inner:
            return head + ")"
        return f"{head}\n" + textwrap.indent("\n".join(inner), "  ") + "\n)"

    # Looking through the tree

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Give this module and all inside it with dotted names, each module once."""
        for name, value in _walk(prefix, self, set()):
            if isinstance(value, Module):
                yield name, value

    def modules(self) -> Iterator[Module]:
        """Give this module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator[Module]:
        """Give the modules assigned to this one directly, each once."""
        return iter(dict.fromkeys(m for _, m in attributes_of(self, Module)))

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Give the parameters in assignment order with dotted names, shared ones once.

        Raises: TypeError where a list, tuple, set or dict hides modules or parameters.
        """
        for name, value in _walk(prefix, self, set()):
            if isinstance(value, Parameter):
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        """Give the parameters in assignment order, shared ones once."""
        return (parameter for _, parameter in self.named_parameters())

    # State

    def train(self, mode: bool = True) -> Self:
        """Put this module and all inside it into training mode, with dropout."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all inside it into evaluation mode, without dropout."""
        return self.train(False)

    def requires_grad_(self, wanted: bool = True) -> Self:
        """Unfreeze every parameter, or with False freeze it; give this module.

        A frozen parameter is a constant: nothing is recorded for it, an optimiser
        leaves it as it is, and it is saved, loaded and moved as before. Freezing
        forgets its gradient.
        """
        for parameter in self.parameters():
            parameter.requires_grad = wanted
        return self

    def zero_grad(self) -> None:
        """Forget every parameter's gradient."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def to(self, device: str) -> Self:
        """Move every parameter, with its gradient, to a device; give this module.

        Frozen parameters move too. The parameters stay the same objects, and an
        optimiser's state follows them at its next step.

        Raises: ValueError and RuntimeError as `minigrad.device`; nothing is moved then.
        """
        device = mg.device(device)  # "auto" is one device for all of them
        parameters = list(self.parameters())
        moved = [
            (p.detach().to(device), None if p.grad is None else p.grad.to(device))
            for p in parameters
        ]
        for parameter, (values, gradient) in zip(parameters, moved, strict=True):
            parameter.data = values.data
            if parameter.requires_grad:
                parameter.grad = gradient
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Give copies of all parameters as NumPy arrays, under their dotted names."""
        return {name: np.array(p.numpy()) for name, p in self.named_parameters()}

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise unless `load_state_dict` could take a state; nothing is loaded.

        Raises: TypeError for what is no dictionary; ValueError that names every
        missing, unexpected, misshapen and not numeric key.
        """
        kind = type(self).__name__
        expected = {name: p.shape for name, p in self.named_parameters()}
        way_out = "Build the module as it was when the state was saved, or rename keys."
        check_state(f"{kind}.load_state_dict", state, expected, way_out)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy arrays into the parameters, all or none; each keeps its own dtype.

        Frozen parameters are loaded too.

        Raises: as `check_state_dict`.
        """
        self.check_state_dict(state)
        assign((p, real_array(state[name])) for name, p in self.named_parameters())


class ModuleList(Module):
    """A list of layers whose parameters are found, for loops of one's own.

    Raises: TypeError for what cannot be called.
    """

    def __init__(self, layers: Iterable[Callable[..., Any]] = ()) -> None:
        self._length = 0
        if not isinstance(layers, Iterable):
            raise TypeError(
                f"{type(self).__name__}: layers is a {type(layers).__name__}, which "
                "holds none. Give a list of modules or functions."
            )
        for layer in layers:
            self.append(layer)

    def append(self, layer: Callable[..., Any]) -> Self:
        """Add a layer at the end, under its number as its name."""
        if not callable(layer):
            raise TypeError(
                f"{type(self).__name__}: layer {self._length} is a "
                f"{type(layer).__name__}, which cannot be called. Give modules or "
                "functions; of a list, Sequential(*layers) or ModuleList(layers)."
            )
        setattr(self, str(self._length), layer)
        self._length += 1
        return self

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, str(i)) for i in range(self._length))

    def __getitem__(self, index: int) -> Any:
        return list(self)[index]


class Sequential(ModuleList):
    """Layers applied one after another; functions such as `mg.relu` may stand between.

    Raises: TypeError for what cannot be called.
    """

    def __init__(self, *layers: Callable[..., Any]) -> None:
        super().__init__(layers)

    def forward(self, x: Any) -> Any:
        """Pass x through every layer in turn."""
        for layer in self:
            x = layer(x)
        return x


def attributes_of(module: Module, kind: type) -> list[tuple[str, Any]]:
    """Give the attributes of one kind in assignment order."""
    return [(n, v) for n, v in vars(module).items() if isinstance(v, kind)]


def _walk(
    name: str, value: Module | Parameter, seen: set[int]
) -> Iterator[tuple[str, Module | Parameter]]:
    """A module or parameter and all inside it, outside first, each once."""
    if id(value) in seen:
        return
    seen.add(id(value))
    yield name, value
    if not isinstance(value, Module):
        return
    for key, inner in list(vars(value).items()):
        # A list may have been empty when it was assigned. Its first item has to do: a
        # large vocabulary should not be searched at every step.
        _refuse_hidden(value, key, inner, next(iter(_items(inner)), None))
        if isinstance(inner, Module | Parameter):
            yield from _walk(f"{name}.{key}" if name else key, inner, seen)


def _items(value: Any) -> Iterable[Any]:
    """What a container holds, nothing for anything else."""
    items = value.values() if isinstance(value, dict) else value
    return items if isinstance(value, CONTAINERS) else ()


def _first_hidden(container: Any, seen: set[int]) -> Any:
    """The first module or parameter in nested containers, None where there is none."""
    seen.add(id(container))
    for item in _items(container):
        if isinstance(item, Module | Parameter):
            return item
        found = None if id(item) in seen else _first_hidden(item, seen)
        if found is not None:
            return found
    return None


def _refuse_hidden(module: Module, name: str, container: Any, hidden: Any) -> None:
    """Raise where a parameter would hide in a container and never be trained."""
    if isinstance(hidden, Module | Parameter):
        raise TypeError(
            f"{type(module).__name__}.{name} is a {type(container).__name__} that "
            f"holds a {type(hidden).__name__}: parameters in containers are not found, "
            "so they would be neither trained nor saved. Hold modules in "
            "nn.Sequential(*modules) or nn.ModuleList(modules), and assign each "
            "Parameter as an attribute of its own."
        )
