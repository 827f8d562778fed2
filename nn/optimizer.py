"""The base class of optimisers: the parameters and the state of an optimiser."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

import minigrad as mg
from minigrad.backend import to_device
from minigrad.tape import Leaf, Live, depend_on, recording, tell, with_shape
from nn.checks import NOT_NEGATIVE, POSITIVE, POSITIVE_COUNT, Numbers, check_number
from nn.states import Expected, check_mapping, check_state
from nn.updates import wide

State = dict[str, Any]


class Optimizer:
    """Base class: which parameters, what learning rate `lr`, and whose state.

    A subclass names its settings with their ranges and its moments (arrays like the
    parameter) and writes `_update`. Settings, which a schedule or a loop may assign,
    are checked. Parameters without a gradient and frozen ones (`requires_grad` is
    False) are skipped, and their moments and step count stay as they are. Moments
    follow a parameter that was moved to another device.
    """

    # A schedule may end at 0, which a new optimiser may not start with.
    settings: ClassVar[Mapping[str, Numbers]] = {"lr": NOT_NEGATIVE}

    def __init__(self, params: Iterable[mg.Tensor], lr: float) -> None:
        self._name = type(self).__name__
        self.params = _check_trainable(self._name, params)
        check_number(self._name, "lr", lr, POSITIVE)
        self.lr = lr
        # Made at the first step, on the device that the parameter is on then.
        self._states: list[State] = [{} for _ in self.params]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.settings:
            check_number(self._name, name, value, self.settings[name])
            value = float(value)
            tell("wrote", value, f"assigning {name}")
        if name == "lr":
            self._lr = np.array(value)  # which a compiled step looks up
        object.__setattr__(self, name, value)

    @property
    def moments(self) -> tuple[str, ...]:
        """The names of the arrays that are kept for every parameter."""
        return ()

    def zero_grad(self) -> None:
        """Forget every parameter's gradient."""
        for parameter in self.params:
            parameter.zero_grad()

    def step(self) -> None:
        """Change every parameter that has a gradient in `.grad`."""
        self.update([parameter.grad for parameter in self.params])

    def update(self, grads: Iterable[Any]) -> None:
        """Change the parameters by gradients in hand, None where there is none.

        Frozen parameters stay as they are, whatever their gradient.

        Shapes: one gradient, Tensor or array, for each parameter, of its shape.
        Raises: ValueError where number or shapes differ; then nothing is changed.
        """
        gradients = [None if g is None else with_shape(g) for g in grads]
        self._check_gradients(gradients)
        settings = depend_on(self._fixed)
        depend_on(self._trainable)
        names = ("step", "lr", *self.moments)
        for index, gradient in enumerate(gradients):
            if gradient is not None and self.params[index].requires_grad:
                p = self.params[index].detach()
                self._prepare(index, p)
                state = [self._state_of(index, name) for name in names]
                self._update(p, gradient, *state, **settings)

    def _update(self, *operands: Any, **settings: float) -> None:
        """Change p and the moments in place, and count the step.

        Operands: p, its gradient, the number of its steps before, lr, the moments.
        """
        raise NotImplementedError

    def _fixed(self) -> dict[str, float]:
        """The settings but lr, which changes from step to step."""
        return {name: getattr(self, name) for name in self.settings if name != "lr"}

    def _trainable(self) -> list[bool]:
        return [parameter.requires_grad for parameter in self.params]

    def _state_of(self, index: int, name: str) -> Any:
        """A part of a parameter's state; in a recording, one that is looked up."""
        if not recording.observers:
            return self._look_up(index, name)
        return Live(partial(self._look_up, index, name))

    def _look_up(self, index: int, name: str) -> Any:
        """A part of a parameter's state, as an array."""
        return self._lr if name == "lr" else self._states[index][name]

    def _prepare(self, index: int, p: mg.Tensor) -> None:
        """Make the parameter's state if this is its first step, on its device."""
        state = self._states[index]
        state.setdefault("step", np.zeros((), np.int64))
        for name in self.moments:
            if name not in state:
                state[name] = np.zeros(p.size, wide(p.dtype), like=p.array)
            elif state[name].size != p.size:
                raise ValueError(
                    f"{self._name}.step: parameter {index} has {p.size} elements, but "
                    f"had {state[name].size} at its last step. Make a new optimiser "
                    "for a parameter of another size."
                )
            state[name] = to_device(state[name], p.device)

    def _check_gradients(self, gradients: list[Any]) -> None:
        order = "Give one for each, in the order of the parameters, or None."
        if len(gradients) != len(self.params):
            raise ValueError(
                f"{self._name}.update: got {len(gradients)} gradients for "
                f"{len(self.params)} parameters. {order}"
            )
        for index, (p, g) in enumerate(zip(self.params, gradients, strict=True)):
            if g is not None and g.shape != p.shape:
                raise ValueError(
                    f"{self._name}.update: gradient {index} has shape {g.shape}, its "
                    f"parameter {p.shape}. {order}"
                )

    # State

    def state_dict(self) -> dict[str, Any]:
        """Give settings, learning rate, and for each parameter moments and step count.

        Keys are "optimizer", the settings' names, and "0.step", "0.m" and so on; values
        are a string, numbers, and copies as NumPy arrays.
        """
        state: dict[str, Any] = {"optimizer": self._name}
        state |= {name: getattr(self, name) for name in self.settings}
        for index, own in enumerate(self._states):
            stepped = own and int(own["step"]) > 0
            if stepped:
                state[f"{index}.step"] = int(own["step"])
            for name in self.moments if stepped else ():
                moment = np.array(mg.asarray(own[name]).numpy())
                state[f"{index}.{name}"] = moment.reshape(self.params[index].shape)
        return state

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise unless `load_state_dict` could take a state; nothing is loaded.

        Raises: TypeError for what is no dictionary; ValueError that names everything
        that does not fit.
        """
        call = f"{self._name}.load_state_dict"
        check_mapping(call, state)
        expected: dict[str, Expected] = {"optimizer": self._name, **self.settings}
        for index, parameter in enumerate(self.params):
            own: dict[str, Expected] = {f"{index}.step": POSITIVE_COUNT}
            own |= {f"{index}.{name}": parameter.shape for name in self.moments}
            # A parameter that never had a gradient has no state at all.
            if any(key in state for key in own):
                expected |= own
        way_out = "Build it as it was, on the same parameters in the same order."
        check_state(call, state, expected, way_out)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state, all of it or, where it does not fit, nothing.

        Raises: as `check_state_dict`.
        """
        self.check_state_dict(state)
        states = [self._loaded(index, state) for index in range(len(self.params))]
        for name in self.settings:
            setattr(self, name, state[name])
        self._states = states

    def _loaded(self, index: int, state: Mapping[str, Any]) -> State:
        """One parameter's part of a saved state, on the parameter's device."""
        if f"{index}.step" not in state:
            return {}
        p = self.params[index]
        own: State = {"step": np.array(state[f"{index}.step"], np.int64)}
        for name in self.moments:
            flat = np.reshape(state[f"{index}.{name}"], -1)
            own[name] = mg.Tensor(flat, dtype=wide(p.dtype), device=p.device).array
        return own


def _check_trainable(owner: str, params: Any) -> list[mg.Tensor]:
    """Parameters as a list, of which there are some to train, none twice."""
    parameters = check_parameters(owner, params)
    if not parameters:
        raise ValueError(
            f"{owner}: the list of parameters is empty, so there is nothing to train. "
            "Give model.parameters() (a generator that was used up before is empty)."
        )
    if not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(
            f"{owner}: none of the {len(parameters)} parameters requires gradients, so "
            "there is nothing to train. Unfreeze some, with requires_grad = True."
        )
    if len(set(map(id, parameters))) < len(parameters):
        raise ValueError(
            f"{owner}: a parameter stands twice in the list and would be changed twice "
            "a step. Give each once, as model.parameters() does."
        )
    return parameters


def check_parameters(owner: str, params: Any) -> list[mg.Tensor]:
    """Give parameters, frozen ones too, as a list.

    Raises: TypeError, ValueError for what is no list of leaves or constants.
    """
    if not isinstance(params, Iterable) or isinstance(params, mg.Tensor | Mapping):
        raise TypeError(
            f"{owner}: params is a {type(params).__name__}, but a list of parameters "
            "is needed. Give model.parameters(), or [tensor] for one."
        )
    parameters = list(params)
    for index, parameter in enumerate(parameters):
        _check_parameter(f"{owner}: parameter {index}", parameter)
    return parameters


def _check_parameter(which: str, parameter: Any) -> None:
    if not isinstance(parameter, mg.Tensor):
        kind = type(parameter)
        raise TypeError(
            f"{which} is a {kind.__module__}.{kind.__qualname__}, not a minigrad "
            "Tensor. Give model.parameters(), or Tensors with requires_grad=True."
        )
    if parameter.dtype.kind != "f":
        raise TypeError(
            f"{which} has dtype {parameter.dtype}, which has no gradients and cannot "
            "be trained. Leave it out, or make it of floats."
        )
    entry = parameter.entry
    if entry is not None and not isinstance(entry, Leaf):
        raise ValueError(
            f"{which} is the result of {entry.name}, so that its gradient is not kept "
            "and it would never change. Give the tensor it was computed from."
        )
