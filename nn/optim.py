"""The optimisers' updates, in place and tile by tile, and the clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

import minigrad as mg
from nn.checks import FRACTION, LIMIT, NOT_NEGATIVE, POSITIVE, check_number
from nn.optimizer import Optimizer, check_parameters, gradient_array, tiles

# A dot product of more than 10,000 elements wakes OpenBLAS's threads, which costs more
# than they bring at this size.
NORM_TILE = 8192

Betas = tuple[float, float]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay.

    `v = momentum * v + g + weight_decay * p`, then `p = p - lr * v`; without momentum
    no v is kept.

    Raises: ValueError for an empty list of parameters or settings out of range.
    Source: Sutskever, Martens, Dahl, Hinton, On the importance of initialization and
    momentum in deep learning (2013), equation 1, with the learning rate outside v.
    """

    settings: ClassVar = {"momentum": FRACTION, "weight_decay": NOT_NEGATIVE}
    momentum: float
    weight_decay: float

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, momentum=momentum, weight_decay=weight_decay)

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
    g^2`: the factors and the bias corrections are numbers that the last line applies
    at once, which saves two passes. With weight_decay the gradient is
    `g + weight_decay * p`.

    Raises: ValueError for an empty list of parameters or settings out of range.
    Source: Kingma and Ba, Adam: a method for stochastic optimization (2015),
    algorithm 1.
    """

    settings: ClassVar = {
        "beta1": FRACTION,
        "beta2": FRACTION,
        "eps": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
    }
    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        beta1, beta2 = _pair_of_betas(type(self).__name__, betas)
        given = {"beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(params, lr, **given, weight_decay=weight_decay)

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
        """Weight decay in the gradient: the derivative of a squared norm."""
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
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decay(self, p: Any, g: Any, scratch: Any) -> Any:
        p *= 1 - self.lr * self.weight_decay
        return g


def clip_grad_norm(params: Iterable[mg.Tensor], max_norm: float) -> float | mg.Tensor:
    """Scale all gradients together so that their joint norm is at most max_norm.

    Gives the norm before; sums in float64. On a GPU that norm is a Tensor: only
    reading it, with `float(norm)`, waits for the GPU. Parameters without gradient count
    as zeros. A norm that is not finite is given, and the gradients stay as they are.
    Gradients are replaced, not written into: two parameters may share one.

    Raises: ValueError unless max_norm > 0.
    Source: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural
    networks (2013), algorithm 1.
    """
    check_number("clip_grad_norm", "max_norm", max_norm, LIMIT)
    given = [params] if isinstance(params, mg.Tensor) else params
    owners = [
        p for p in check_parameters("clip_grad_norm", given) if p.grad is not None
    ]
    if any(p.device != "cpu" for p in owners):
        return _clip_without_waiting(owners, max_norm)
    total = math.sqrt(sum(_sum_of_squares(gradient_array(p.grad)) for p in owners))
    if max_norm < total < math.inf:
        for parameter in owners:
            scaled = gradient_array(parameter.grad) * (max_norm / total)
            parameter.grad = mg.asarray(scaled)
    return total


def _clip_without_waiting(owners: list[mg.Tensor], max_norm: float) -> mg.Tensor:
    """The same on a GPU: the norm and the choice whether to scale stay there."""
    flat = [gradient_array(p.grad).reshape(-1).astype("float64") for p in owners]
    total = np.sqrt(sum(x.dot(x) for x in flat))
    clips = np.logical_and(total > max_norm, np.isfinite(total))
    factor = np.where(clips, max_norm / total, 1.0)
    for parameter in owners:
        gradient = gradient_array(parameter.grad)
        parameter.grad = mg.asarray(gradient * factor.astype(gradient.dtype))
    return mg.asarray(total)


def _sum_of_squares(array: Any) -> float:
    flat = array.reshape(-1)
    parts = (flat[s].astype("float64", copy=False) for s in tiles(flat, NORM_TILE))
    return sum(float(x.dot(x)) for x in parts)


def _pair_of_betas(kind: str, betas: Any) -> Betas:
    """Raises: TypeError unless there are two; ValueError for those out of range."""
    try:
        beta1, beta2 = betas
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{kind}: betas is {betas!r}, but must be a pair of numbers, for m and "
            "for v. Give for example betas=(0.9, 0.999)."
        ) from error
    check_number(kind, "betas[0]", beta1, FRACTION)
    check_number(kind, "betas[1]", beta2, FRACTION)
    return beta1, beta2
