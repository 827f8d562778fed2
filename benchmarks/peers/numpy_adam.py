"""Which Adam do the peers without an optimiser use? This one, on NumPy arrays.

Source: Kingma and Ba, "Adam" (2015), algorithm 1, with PyTorch's default settings.
"""

from collections.abc import Mapping

import numpy as np

from benchmarks.works import LEARNING_RATE, Arrays

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class NumpyAdam:
    """Updates named arrays in place, with one scratch array and no other copy."""

    def __init__(self, parameters: Arrays) -> None:
        self.parameters = parameters
        self.first = {k: np.zeros_like(p) for k, p in parameters.items()}
        self.second = {k: np.zeros_like(p) for k, p in parameters.items()}
        self.steps = 0

    def update(self, gradients: Mapping[str, np.ndarray]) -> None:
        """Take one step along `gradients`, named as the parameters are."""
        self.steps += 1
        rate = LEARNING_RATE / (1 - BETA1**self.steps)
        correction = 1 / np.sqrt(1 - BETA2**self.steps)
        for name, parameter in self.parameters.items():
            gradient = gradients[name]
            first, second = self.first[name], self.second[name]
            first *= BETA1
            scratch = np.multiply(gradient, 1 - BETA1, dtype=first.dtype)
            first += scratch
            np.multiply(gradient, gradient, out=scratch, casting="same_kind")
            scratch *= 1 - BETA2
            second *= BETA2
            second += scratch
            np.sqrt(second, out=scratch)
            scratch *= float(correction)
            scratch += EPSILON
            np.divide(first, scratch, out=scratch)
            scratch *= rate
            parameter -= scratch
