"""How does a layer learn not to rely on single units? By losing some at random."""

from __future__ import annotations

from typing import Any

import minigrad as mg
from nn.checks import SHARE, check_generator, check_number
from nn.dtypes import floats
from nn.module import Module


class Dropout(Module):
    """Zero each element with probability p while training, and scale up the others.

    Shapes: x and output (...). In evaluation mode x passes unchanged.
    Raises: ValueError unless 0 <= p < 1.
    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, Dropout (2014),
    in its inverted form: kept elements are divided by 1 - p.
    """

    def __init__(
        self, p: float = 0.5, *, generator: mg.Generator | None = None
    ) -> None:
        why = (
            "but it is the probability of dropping an element and something must be "
            "left"
        )
        check_number("Dropout", "p", p, SHARE, why)
        check_generator("Dropout", generator)
        self.p = float(p)
        self.generator = generator

    def forward(self, x: Any) -> Any:
        """Drop elements of x while training, give x itself otherwise."""
        if not self.training or self.p == 0:
            return x
        (x,) = floats("Dropout", x=x)
        return mg.dropout(x, self.p, generator=self.generator)
