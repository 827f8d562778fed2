"""Functions composed of primitives: no gradient rules here, the tape finds them."""

from minigrad.functions.einsum import einsum
from minigrad.functions.lookup import scatter_add, take
from minigrad.functions.probabilities import dropout, log_softmax, softmax
from minigrad.functions.statistics import mean, norm, std, var

__all__ = [
    "dropout",
    "einsum",
    "log_softmax",
    "mean",
    "norm",
    "scatter_add",
    "softmax",
    "std",
    "take",
    "var",
]
