"""Optimisers, and the clipping of gradients."""

from collections.abc import Iterable
from typing import Any, ClassVar

import minigrad as mg
from minigrad.compiler import offer
from minigrad.tape import array_of
from nn.checks import FRACTION, LIMIT, NOT_NEGATIVE, POSITIVE, check_number
from nn.fast import make_adam
from nn.optimizer import Optimizer, check_parameters
from nn.updates import adam_update, clipped, joint_norm, sgd_update

Betas = tuple[float, float]

offer(adam_update, make_adam)  # compiled programs take the faster of the two


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay.

    `v = momentum * v + g + weight_decay * p`, then `p = p - lr * v`; without momentum
    no v is kept.

    Raises: ValueError for an empty list of parameters or settings out of range.
    Source: Sutskever, Martens, Dahl, Hinton, On the importance of initialization and
    momentum in deep learning (2013), equation 1, with the learning rate outside v.
    """

    settings: ClassVar = {
        **Optimizer.settings,
        "momentum": FRACTION,
        "weight_decay": NOT_NEGATIVE,
    }

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.momentum = momentum
        self.weight_decay = weight_decay

    @property
    def moments(self) -> tuple[str, ...]:
        """The names of the arrays that are kept for every parameter."""
        return ("v",) if self.momentum else ()

    def _update(self, *operands: Any, **settings: float) -> None:
        sgd_update(*map(array_of, operands), **settings)


class Adam(Optimizer):
    """Adam: steps of about lr, whatever the gradient's scale.

    The paper's m and v are kept without their factors, as `m = beta1 * m + g` and
    `v = beta2 * v + g^2`: factors and bias corrections are numbers, applied at once in
    the last line. With weight_decay the gradient is `g + weight_decay * p`.

    Raises: ValueError for an empty list of parameters or settings out of range.
    Source: Kingma and Ba, Adam: a method for stochastic optimization (2015),
    algorithm 1.
    """

    settings: ClassVar = {
        **Optimizer.settings,
        "beta1": FRACTION,
        "beta2": FRACTION,
        "eps": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
    }
    moments = ("m", "v")
    decoupled = False  # whether weights decay beside the gradient

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.beta1, self.beta2 = _pair_of_betas(self._name, betas)
        self.eps = eps
        self.weight_decay = weight_decay

    def _update(self, *operands: Any, **settings: float) -> None:
        adam_update(*map(array_of, operands), **settings, decoupled=self.decoupled)


class AdamW(Adam):
    """Adam with weight decay beside the gradient, not in it: `p *= 1 - lr * decay`.

    Raises: as `Adam`.
    Source: Loshchilov and Hutter, Decoupled weight decay regularization (2019),
    algorithm 2.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[mg.Tensor],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


def clip_grad_norm(params: Iterable[mg.Tensor], max_norm: float) -> mg.Tensor:
    """Scale all gradients together so that their joint norm is at most max_norm.

    Gives the norm before, a Tensor that `float(norm)` reads (on a GPU only that waits).
    Where it is not finite the gradients stay as they are. Gradients are replaced, not
    written into: two parameters may share one.

    Raises: ValueError unless max_norm > 0.
    Source: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural
    networks (2013), algorithm 1.
    """
    check_number("clip_grad_norm", "max_norm", max_norm, LIMIT)
    given = [params] if isinstance(params, mg.Tensor) else params
    parameters = check_parameters("clip_grad_norm", given)
    gradients = [(p, p.grad) for p in parameters if p.grad is not None]
    if not gradients:
        return mg.zeros((), dtype="float64")
    norm = joint_norm(*(gradient for _, gradient in gradients))
    for parameter, gradient in gradients:
        scaled = clipped(gradient, norm, most=float(max_norm))
        if scaled.array is not gradient.array:
            parameter.grad = scaled
    return norm


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
