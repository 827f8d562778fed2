"""How do gradients change parameters? SGD, Adam and AdamW, in place and in tiles.

An update is a handful of element-wise passes over the parameter, its gradient and its
moments. Over whole arrays, every pass of a large parameter goes to main memory; over
tiles that fit a core's cache, only the first does. One scratch tile is all the memory
that an update needs beside the moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

import minigrad as mg
from minigrad.tape import Leaf
from nn.checks import (
    LIMIT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Numbers,
    check_fit,
    check_mapping,
    check_number,
    is_integer,
    listed,
    real_array,
)

# Four float32 arrays and the scratch tile of this many elements are 640 KiB: they fit
# the second-level cache of one core.
TILE = 32768

# A dot product of more than 10,000 elements wakes OpenBLAS's threads, which costs more
# than they bring at this size.
NORM_TILE = 8192

State = dict[str, Any]


class Optimizer:
    """Base class: which parameters, what learning rate, and whose state.

    A subclass names its settings (which numbers each may be) and moments (arrays like
    the parameter) and writes `_update_tile`. Parameters without a gradient and frozen
    ones (`requires_grad` is False) are skipped, and their moments and step count stay
    as they are. Moments follow a parameter that was moved to another device.
    """

    settings: ClassVar[Mapping[str, Numbers]] = {}

    def __init__(self, params: Iterable[mg.Tensor], lr: float) -> None:
        self.params = _parameter_list(type(self).__name__, params)
        check_number(type(self).__name__, "lr", lr, POSITIVE)
        self._lr = float(lr)
        # Made at the first step, so that they lie on the device the parameter is on.
        self._states: list[State] = [{} for _ in self.params]
        self._scratch: dict[str, Any] = {}

    @property
    def lr(self) -> float:
        """The learning rate; a schedule or a loop may assign it."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        # A schedule may end at 0, which a new optimiser may not start with.
        check_number(type(self).__name__, "lr", value, NOT_NEGATIVE)
        self._lr = float(value)

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
        arrays = [_array(gradient) for gradient in grads]
        self._check_gradients(arrays)
        for index, gradient in enumerate(arrays):
            if gradient is not None and self.params[index].requires_grad:
                self._update_parameter(index, gradient)

    def state_dict(self) -> dict[str, Any]:
        """Give settings, learning rate, and for each parameter moments and step count.

        Keys are "optimizer", "lr", the settings' names, and "0.step", "0.m" and so on;
        values are a string, numbers, and copies as NumPy arrays.
        """
        state: dict[str, Any] = {"optimizer": type(self).__name__, "lr": self.lr}
        state |= {name: getattr(self, name) for name in self.settings}
        for index, own in enumerate(self._states):
            if own:
                state[f"{index}.step"] = own["step"]
            for name in self.moments if own else ():
                moment = _copy(own[name]).reshape(self.params[index].shape)
                state[f"{index}.{name}"] = moment
        return state

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise unless `load_state_dict` could take a state; nothing is loaded.

        Raises: TypeError for what is no dictionary; ValueError that names everything
        that does not fit.
        """
        kind = type(self).__name__
        check_mapping(kind, state)
        way_out = (
            "Build the optimiser as it was when the state was saved, on the same "
            "parameters in the same order."
        )
        check_fit(kind, "optimiser", self._mismatches(state), way_out)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state, all of it or, where it does not fit, nothing.

        Raises: as `check_state_dict`.
        """
        self.check_state_dict(state)
        states = [self._loaded(index, state) for index in range(len(self.params))]
        self.lr = float(state["lr"])
        for name in self.settings:
            setattr(self, name, float(state[name]))
        self._states = states

    def _check_settings(self, **given: Any) -> None:
        for name, value in given.items():
            check_number(type(self).__name__, name, value, self.settings[name])

    # What a subclass writes

    def _factors(self, step: int) -> dict[str, float]:
        """The numbers that change from step to step, once for all tiles."""
        return {}

    def _update_tile(
        self, p: Any, g: Any, scratch: Any, *moments: Any, **factors: float
    ) -> None:
        """Change p and the moments in place; scratch is free to use, g is not."""
        raise NotImplementedError

    # One parameter

    def _update_parameter(self, index: int, gradient: Any) -> None:
        parameter = self.params[index]
        data = parameter.data
        p = data.reshape(-1)
        g = gradient.reshape(-1)
        state = self._advance(index, p, parameter.device)
        moments = [state[name] for name in self.moments]
        factors = self._factors(state["step"])
        dtype = _wide(p.dtype)
        for tile in _tiles(p, TILE):
            arrays = [array[tile].astype(dtype, copy=False) for array in (p, g)]
            kept = [moment[tile] for moment in moments]
            scratch = self._scratch_like(arrays[0], parameter.device)
            self._update_tile(*arrays, scratch, *kept, **factors)
            if dtype != p.dtype:
                p[tile] = arrays[0]
        if not data.flags.c_contiguous:
            # Then p is a copy, in another order than the parameter's memory.
            data[...] = p.reshape(data.shape)
        mg.record_write(data, f"{type(self).__name__}.step")

    def _advance(self, index: int, p: Any, device: str) -> State:
        """The parameter's state, made if this is its first step, one step further."""
        state = self._states[index]
        if state.get("device", device) != device:
            self._move(state, device)
        state["step"] = state.get("step", 0) + 1
        state["device"] = device
        for name in self.moments:
            if name not in state:
                state[name] = np.zeros_like(p, dtype=_wide(p.dtype))
            elif state[name].size != p.size:
                raise ValueError(
                    f"{type(self).__name__}.step: parameter {index} has {p.size} "
                    f"elements, but had {state[name].size} at its last step. Make a "
                    "new optimiser for a parameter of another size."
                )
        return state

    def _move(self, state: State, device: str) -> None:
        """Let the moments follow their parameter; scratch is made anew where it is."""
        for name in self.moments:
            state[name] = mg.asarray(state[name]).to(device).data
        self._scratch.clear()

    def _scratch_like(self, p: Any, device: str) -> Any:
        """A free array like p, the same piece of memory from tile to tile."""
        key = f"{device} {p.dtype}"
        scratch = self._scratch.get(key)
        if scratch is None or scratch.size < p.size:
            scratch = self._scratch[key] = np.empty_like(p)
        return scratch[: p.size]

    # What can be wrong

    def _check_gradients(self, gradients: list[Any]) -> None:
        kind = type(self).__name__
        if len(gradients) != len(self.params):
            raise ValueError(
                f"{kind}.update: got {len(gradients)} gradients for "
                f"{len(self.params)} parameters. Give one for each, in the order of "
                "the parameters, and None where there is none."
            )
        for index, (p, g) in enumerate(zip(self.params, gradients, strict=True)):
            if g is not None and g.shape != p.shape:
                raise ValueError(
                    f"{kind}.update: gradient {index} has shape {g.shape}, its "
                    f"parameter {p.shape}. Give the gradients in the order of the "
                    "parameters, each of its parameter's shape."
                )

    def _mismatches(self, state: Mapping[str, Any]) -> list[str]:
        kind = type(self).__name__
        if state.get("optimizer") != kind:
            return [f"it was saved by {state.get('optimizer')!r}, this is {kind!r}"]
        parts = ("step", *self.moments)
        numbers = ("lr", *self.settings)
        known = {"optimizer", *numbers}
        missing = sorted(known - set(state))
        for index in range(len(self.params)):
            keys = [f"{index}.{part}" for part in parts]
            known.update(keys)
            # A parameter that never had a gradient has no state at all.
            if any(key in state for key in keys):
                missing += [key for key in keys if key not in state]
        return listed(
            {
                "missing": missing,
                "unexpected": [key for key in state if key not in known],
                "misshapen": list(self._misshapen(state)),
                "out of range": list(self._out_of_range(state)),
            }
        )

    def _out_of_range(self, state: Mapping[str, Any]) -> Iterator[str]:
        """Which numbers of a state are none that this optimiser can go on with."""
        for name, numbers in {"lr": NOT_NEGATIVE, **self.settings}.items():
            if name in state and not numbers.hold(state[name]):
                yield f"{name} is {state[name]!r}"
        for index in range(len(self.params)):
            steps = state.get(f"{index}.step", 1)
            if not is_integer(steps) or steps < 1:
                yield f"{index}.step is {steps!r}"

    def _misshapen(self, state: Mapping[str, Any]) -> Iterator[str]:
        for index, parameter in enumerate(self.params):
            for name in self.moments:
                key = f"{index}.{name}"
                if key not in state:
                    continue
                array = real_array(state[key])
                if array is None:
                    yield f"{key} (a {type(state[key]).__name__})"
                elif array.shape != parameter.shape:
                    yield f"{key} (parameter {parameter.shape}, state {array.shape})"

    def _loaded(self, index: int, state: Mapping[str, Any]) -> State:
        """One parameter's part of a saved state, on the parameter's device."""
        if f"{index}.step" not in state:
            return {}
        p = self.params[index]
        own: State = {"step": int(state[f"{index}.step"]), "device": p.device}
        for name in self.moments:
            flat = np.reshape(state[f"{index}.{name}"], -1)
            own[name] = mg.Tensor(flat, dtype=_wide(p.dtype), device=p.device).data
        return own


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay.

    `v = momentum * v + g + weight_decay * p`, then `p = p - lr * v`; without momentum
    no v is kept.

    Raises: ValueError for an empty list of parameters or settings out of range.
    Source: Sutskever, Martens, Dahl, Hinton, On the importance of initialization and
    momentum in deep learning (2013), equation 1, with the learning rate outside v.
    """

    settings: ClassVar = {"momentum": SHARE, "weight_decay": NOT_NEGATIVE}

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self._check_settings(momentum=momentum, weight_decay=weight_decay)
        self.momentum = float(momentum)
        self.weight_decay = float(weight_decay)

    @property
    def moments(self) -> tuple[str, ...]:
        """The names of the arrays that are kept for every parameter."""
        return ("v",) if self.momentum else ()

    def _update_tile(
        self, p: Any, g: Any, scratch: Any, *moments: Any, **factors: float
    ) -> None:
        if self.weight_decay:
            np.multiply(p, self.weight_decay, out=scratch)
            scratch += g
            g = scratch
        for v in moments:
            v *= self.momentum
            v += g
            g = v
        np.multiply(g, self.lr, out=scratch)
        p -= scratch


class Adam(Optimizer):
    """Adam: steps of about lr, whatever the gradient's scale.

    The paper's `m = beta1 * m + (1 - beta1) * g` and `v = beta2 * v + (1 - beta2) *
    g^2` are kept without their factors, as `m = beta1 * m + g` and `v = beta2 * v +
    g^2`: the factors, and the corrections of the moments' start at zero, are numbers
    that the last line takes care of at once, in two passes less. With weight_decay the
    gradient is `g + weight_decay * p`.

    Raises: ValueError for an empty list of parameters or settings out of range.
    Source: Kingma and Ba, Adam: a method for stochastic optimization (2015),
    algorithm 1.
    """

    settings: ClassVar = {
        "beta1": SHARE,
        "beta2": SHARE,
        "eps": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
    }

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.beta1, self.beta2 = _pair_of_betas(type(self).__name__, betas)
        self._check_settings(eps=eps, weight_decay=weight_decay)
        self.eps = float(eps)
        self.weight_decay = float(weight_decay)

    @property
    def moments(self) -> tuple[str, ...]:
        """The names of the arrays that are kept for every parameter."""
        return ("m", "v")

    def _factors(self, step: int) -> dict[str, float]:
        """Turn `lr * m_hat / (sqrt(v_hat) + eps)` into `rate * m / (sqrt(v) + eps)`."""
        m_scale = (1 - self.beta1) / (1 - self.beta1**step)
        v_scale = math.sqrt((1 - self.beta2) / (1 - self.beta2**step))
        return {"rate": self.lr * m_scale / v_scale, "eps": self.eps / v_scale}

    def _update_tile(
        self, p: Any, g: Any, scratch: Any, *moments: Any, **factors: float
    ) -> None:
        m, v = moments
        g = self._decay(p, g, scratch)
        m *= self.beta1
        m += g
        v *= self.beta2
        np.multiply(g, g, out=scratch)
        v += scratch
        np.sqrt(v, out=scratch)
        scratch += factors["eps"]
        np.divide(m, scratch, out=scratch)
        scratch *= factors["rate"]
        p -= scratch

    def _decay(self, p: Any, g: Any, scratch: Any) -> Any:
        """Weight decay as part of the gradient: the derivative of a squared norm."""
        if not self.weight_decay:
            return g
        np.multiply(p, self.weight_decay, out=scratch)
        scratch += g
        return scratch


class AdamW(Adam):
    """Adam with weight decay beside the gradient, not in it: `p *= 1 - lr * decay`.

    Raises: ValueError for an empty list of parameters or settings out of range.
    Source: Loshchilov and Hutter, Decoupled weight decay regularization (2019),
    algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decay(self, p: Any, g: Any, scratch: Any) -> Any:
        p *= 1 - self.lr * self.weight_decay
        return g


def clip_grad_norm(params: Iterable[mg.Tensor], max_norm: float) -> float | mg.Tensor:
    """Scale all gradients together so that their joint norm is at most max_norm.

    Gives the norm before; sums in float64. On a GPU that norm is a Tensor: only who
    reads it, with `float(norm)`, waits. Parameters without gradient count as zeros,
    and a norm that is not finite leaves the gradients as they are, for the caller to
    see. Gradients are replaced, not written into: two parameters may share one.

    Raises: ValueError unless max_norm > 0.
    Source: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural
    networks (2013), algorithm 1.
    """
    check_number("clip_grad_norm", "max_norm", max_norm, LIMIT)
    given = [params] if isinstance(params, mg.Tensor) else params
    owners = [p for p in _tensors("clip_grad_norm", given) if p.grad is not None]
    if any(p.device != "cpu" for p in owners):
        return _clip_without_waiting(owners, max_norm)
    squares = [_sum_of_squares(_array(p.grad)) for p in owners]
    total = math.sqrt(sum(squares))
    if max_norm < total < math.inf:
        for parameter in owners:
            scaled = _array(parameter.grad) * (max_norm / total)
            parameter.grad = mg.asarray(scaled)
    return total


def _clip_without_waiting(owners: list[mg.Tensor], max_norm: float) -> mg.Tensor:
    """The same on a GPU: the norm and the choice whether to scale stay there."""
    flat = [_array(p.grad).reshape(-1).astype("float64") for p in owners]
    total = np.sqrt(sum(x.dot(x) for x in flat))
    clips = np.logical_and(total > max_norm, np.isfinite(total))
    factor = np.where(clips, max_norm / total, 1.0)
    for parameter in owners:
        gradient = _array(parameter.grad)
        parameter.grad = mg.asarray(gradient * factor.astype(gradient.dtype))
    return mg.asarray(total)


def _sum_of_squares(array: Any) -> float:
    flat = array.reshape(-1)
    tiles = (flat[s].astype("float64", copy=False) for s in _tiles(flat, NORM_TILE))
    return sum(float(x.dot(x)) for x in tiles)


def _tiles(flat: Any, length: int) -> Iterator[slice]:
    """Slices of a flat array that fit the cache; on a GPU, all of it at once."""
    step = length if isinstance(flat, np.ndarray) else max(flat.size, 1)
    for start in range(0, flat.size, step):
        yield slice(start, start + step)


def _wide(dtype: Any) -> Any:
    """The dtype of an update and its moments: squares of float16 would overflow."""
    return np.promote_types(dtype, np.float32)


def _array(value: Any) -> Any:
    """The array behind a Tensor, None for None."""
    if value is None:
        return None
    if isinstance(value, mg.Tensor):
        return value.data
    return value if hasattr(value, "dtype") else np.asarray(value)


def _copy(array: Any) -> np.ndarray:
    """A NumPy copy of an array of any device."""
    return np.array(mg.asarray(array).numpy())


def _parameter_list(kind: str, params: Any) -> list[mg.Tensor]:
    """The parameters as a list, once it is known that they can be trained."""
    parameters = _tensors(kind, params)
    if not parameters:
        raise ValueError(
            f"{kind}: the list of parameters is empty, so there is nothing to train. "
            "Give model.parameters() (a generator that was used up before is empty)."
        )
    if not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(
            f"{kind}: none of the {len(parameters)} parameters requires gradients, so "
            "there is nothing to train. Unfreeze some, with requires_grad = True."
        )
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ValueError(
            f"{kind}: a parameter stands twice in the list and would be changed twice "
            "a step. Give each once, as model.parameters() does."
        )
    return parameters


def _tensors(kind: str, params: Any) -> list[mg.Tensor]:
    """What is given as parameters, as a list of leaves or constants."""
    if not isinstance(params, Iterable) or isinstance(
        params, mg.Tensor | Mapping | str | bytes | np.ndarray
    ):
        raise TypeError(
            f"{kind}: params is a {type(params).__name__}, but a list of parameters "
            "is needed. Give model.parameters(), or [tensor] for one."
        )
    parameters = list(params)
    for index, parameter in enumerate(parameters):
        _check_parameter(kind, index, parameter)
    return parameters


def _check_parameter(kind: str, index: int, parameter: Any) -> None:
    if not isinstance(parameter, mg.Tensor):
        given = type(parameter)
        raise TypeError(
            f"{kind}: parameter {index} is a {given.__module__}.{given.__qualname__}, "
            "not a minigrad Tensor. Give model.parameters() of a minigrad model, or "
            "Tensors with requires_grad=True."
        )
    if parameter.dtype.kind != "f":
        raise TypeError(
            f"{kind}: parameter {index} has dtype {parameter.dtype}, which has no "
            "gradients and cannot be trained. Leave it out, or make it of floats."
        )
    entry = parameter.entry
    if entry is not None and not isinstance(entry, Leaf):
        raise ValueError(
            f"{kind}: parameter {index} is the result of {entry.name}, so "
            "that its gradient is not kept and it would never change. Give the tensor "
            "it was computed from."
        )


def _pair_of_betas(kind: str, betas: Any) -> tuple[float, float]:
    """Raises: TypeError unless there are two; ValueError for those out of range."""
    try:
        beta1, beta2 = betas
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{kind}: betas is {betas!r}, but must be a pair of numbers, for m and "
            "for v. Give for example betas=(0.9, 0.999)."
        ) from error
    check_number(kind, "betas[0]", beta1, SHARE)
    check_number(kind, "betas[1]", beta2, SHARE)
    return float(beta1), float(beta2)
