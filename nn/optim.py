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

# Four float32 arrays and the scratch tile of this many elements are 640 KiB: they fit
# the second-level cache of one core.
TILE = 32768

# A dot product of more than 10,000 elements wakes OpenBLAS's threads, which costs more
# than they bring at this size.
NORM_TILE = 8192

State = dict[str, Any]


class Optimizer:
    """Base class: which parameters, what learning rate, and whose state.

    A subclass names its settings (numbers) and moments (arrays like the parameter) and
    writes `_update_tile`. Parameters without a gradient are skipped, and their moments
    and step count stay as they are. Moments follow a parameter that was moved to
    another device.
    """

    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Iterable[mg.Tensor], lr: float) -> None:
        self.params = _parameter_list(type(self).__name__, params)
        _check_range(type(self).__name__, "lr", lr, 0 < lr < math.inf, "lr > 0")
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
        _check_range(type(self).__name__, "lr", value, 0 <= value < math.inf, "lr >= 0")
        self._lr = float(value)

    @property
    def moments(self) -> tuple[str, ...]:
        """The names of the arrays that are kept for every parameter."""
        return ()

    def zero_grad(self) -> None:
        """Forget every parameter's gradient."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Change every parameter that has a gradient in `.grad`."""
        self.update([parameter.grad for parameter in self.params])

    def update(self, grads: Iterable[Any]) -> None:
        """Change the parameters by gradients in hand, None where there is none.

        Shapes: one gradient, Tensor or array, for each parameter, of its shape.
        Raises: ValueError where number or shapes differ; then nothing is changed.
        """
        arrays = [_array(gradient) for gradient in grads]
        self._check_gradients(arrays)
        for index, gradient in enumerate(arrays):
            if gradient is not None:
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

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state, all of it or, where it does not fit, nothing.

        Raises: ValueError that names everything that does not fit.
        """
        problems = self._mismatches(state)
        if problems:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state does not fit the "
                f"optimiser, so nothing was loaded: {'; '.join(problems)}. Build the "
                "optimiser as it was when the state was saved, on the same parameters "
                "in the same order."
            )
        states = [self._loaded(index, state) for index in range(len(self.params))]
        self.lr = float(state["lr"])
        for name in self.settings:
            setattr(self, name, float(state[name]))
        self._states = states

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
        for tile in _tiles(p, TILE):
            arrays = [array[tile] for array in (p, g, *moments)]
            scratch = self._scratch_like(arrays[0], parameter.device)
            self._update_tile(arrays[0], arrays[1], scratch, *arrays[2:], **factors)
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
                state[name] = np.zeros_like(p)
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
        known = {"optimizer", "lr", *self.settings}
        missing = sorted(known - set(state))
        for index in range(len(self.params)):
            keys = [f"{index}.{part}" for part in parts]
            known.update(keys)
            # A parameter that never had a gradient has no state at all.
            if any(key in state for key in keys):
                missing += [key for key in keys if key not in state]
        unexpected = [key for key in state if key not in known]
        misshapen = list(self._misshapen(state))
        kinds = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
        return [f"{what}: {', '.join(keys)}" for what, keys in kinds.items() if keys]

    def _misshapen(self, state: Mapping[str, Any]) -> Iterator[str]:
        for index, parameter in enumerate(self.params):
            for name in self.moments:
                key = f"{index}.{name}"
                if key in state and np.shape(state[key]) != parameter.shape:
                    given = np.shape(state[key])
                    yield f"{key} (parameter {parameter.shape}, state {given})"

    def _loaded(self, index: int, state: Mapping[str, Any]) -> State:
        """One parameter's part of a saved state, on the parameter's device."""
        if f"{index}.step" not in state:
            return {}
        p = self.params[index]
        own: State = {"step": int(state[f"{index}.step"]), "device": p.device}
        for name in self.moments:
            flat = np.reshape(state[f"{index}.{name}"], -1)
            own[name] = mg.Tensor(flat, dtype=p.dtype, device=p.device).data
        return own


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay.

    `v = momentum * v + g + weight_decay * p`, then `p = p - lr * v`; without momentum
    no v is kept.

    Raises: ValueError for an empty list of parameters or settings out of range.
    Source: Sutskever, Martens, Dahl, Hinton, On the importance of initialization and
    momentum in deep learning (2013), equation 1, with the learning rate outside v.
    """

    settings: ClassVar = ("momentum", "weight_decay")

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        _check_share("SGD", "momentum", momentum)
        _check_decay("SGD", weight_decay)
        self.momentum = momentum
        self.weight_decay = weight_decay

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

    settings: ClassVar = ("beta1", "beta2", "eps", "weight_decay")

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        kind = type(self).__name__
        self.beta1, self.beta2 = betas
        _check_share(kind, "betas[0]", self.beta1)
        _check_share(kind, "betas[1]", self.beta2)
        _check_range(kind, "eps", eps, eps > 0, "eps > 0")
        _check_decay(kind, weight_decay)
        self.eps = eps
        self.weight_decay = weight_decay

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
    _check_range("clip_grad_norm", "max_norm", max_norm, max_norm > 0, "max_norm > 0")
    owners = [p for p in _tensors(params) if p.grad is not None]
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


def _tensors(params: Iterable[mg.Tensor]) -> list[mg.Tensor]:
    return [params] if isinstance(params, mg.Tensor) else list(params)


def _parameter_list(kind: str, params: Any) -> list[mg.Tensor]:
    """The parameters as a list, once it is known that they can be trained."""
    if not isinstance(params, Iterable) or isinstance(params, mg.Tensor | dict | str):
        raise TypeError(
            f"{kind}: params is a {type(params).__name__}, but an optimiser takes a "
            "list of parameters. Give model.parameters(), or [tensor] for one."
        )
    parameters = list(params)
    if not parameters:
        raise ValueError(
            f"{kind}: the list of parameters is empty, so there is nothing to train. "
            "Give model.parameters() (a generator that was used up before is empty)."
        )
    for index, parameter in enumerate(parameters):
        _check_parameter(kind, index, parameter)
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ValueError(
            f"{kind}: a parameter stands twice in the list and would be changed twice "
            "a step. Give each once, as model.parameters() does."
        )
    return parameters


def _check_parameter(kind: str, index: int, parameter: Any) -> None:
    if not isinstance(parameter, mg.Tensor):
        raise TypeError(
            f"{kind}: parameter {index} is a {type(parameter).__name__}, not a "
            "Tensor. Give model.parameters(), or Tensors with requires_grad=True."
        )
    if not parameter.requires_grad:
        raise ValueError(
            f"{kind}: parameter {index} does not require gradients and would never "
            "change. Leave it out, or make it with requires_grad=True."
        )


def _check_range(kind: str, name: str, value: Any, fits: bool, expected: str) -> None:
    if not fits:
        raise ValueError(
            f"{kind}: {name} is {value!r}, out of range. Give a number with {expected}."
        )


def _check_share(kind: str, name: str, value: float) -> None:
    _check_range(kind, name, value, 0 <= value < 1, f"0 <= {name} < 1")


def _check_decay(kind: str, value: float) -> None:
    fits = 0 <= value < math.inf
    _check_range(kind, "weight_decay", value, fits, "weight_decay >= 0")
