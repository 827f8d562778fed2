"""Dropout: a layer learns not to rely on single units, by losing some at random."""

from typing import Any

import minigrad as mg
from minigrad.random import generator_of
from minigrad.tape import depend_on
from nn.checks import FRACTION, check_number
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
            "but is the probability of dropping an element, and something must be left"
        )
        check_number("Dropout", "p", p, FRACTION, why)
        generator_of(generator)  # refuses another library's
        self.p = float(p)
        self.generator = generator

    def forward(self, x: Any) -> Any:
        """Drop elements of x while training, give x itself otherwise."""
        p = self.probability()
        if p == 0:
            return x
        (x,) = floats("Dropout", "x (...)", x)
        return mg.dropout(x, p, generator=self.generator)

    def probability(self) -> float:
        """Give the probability of dropping an element now."""
        return depend_on(lambda: self.p) if self.training else 0.0
