"""How does the learning rate change? Schedules that set an optimiser's `lr`.

A schedule that starts anew at a checkpoint is built on the optimiser first and then
given its own state back: `schedule.load_state_dict(saved)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from nn.optim import Optimizer


class ExponentialDecay:
    """Multiply the learning rate by `decay` at every step, once an epoch.

    Raises: ValueError unless 0 < decay <= 1.
    """

    def __init__(self, optimizer: Optimizer, decay: float) -> None:
        if not 0 < decay <= 1:
            raise ValueError(
                f"ExponentialDecay: decay is {decay}, but the learning rate is "
                "multiplied by it again and again and would vanish at once or grow "
                "without end. Give 0 < decay <= 1, such as 0.95."
            )
        self.optimizer = optimizer
        self.decay = decay

    def step(self) -> None:
        """Lower the learning rate; call it after every epoch."""
        self.optimizer.lr *= self.decay


class CosineWithWarmup:
    """Raise the learning rate in a line to the optimiser's, then let a cosine lower it.

    Update number s, counted from 0, has the rate lr * (s + 1) / (warmup_steps + 1)
    before s = warmup_steps and then lr * (1 + cos(pi * p)) / 2, where p goes from 0 at
    s = warmup_steps to 1 at s = total_steps. The first rate is set at once.

    Raises: ValueError unless 0 <= warmup_steps < total_steps.
    Source: Loshchilov and Hutter, SGDR (2017), equation 5, for the cosine; Goyal et
    al., Accurate, large minibatch SGD (2017), section 2.2, for the warm-up.
    """

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, total_steps: int
    ) -> None:
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"CosineWithWarmup: warmup_steps is {warmup_steps} of total_steps "
                f"{total_steps}, which leaves no step for the cosine. Give "
                "0 <= warmup_steps < total_steps."
            )
        self.optimizer = optimizer
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.peak = optimizer.lr
        self.steps = 0
        self._set_rate()

    def step(self) -> None:
        """Set the next update's learning rate; call it after every update."""
        self.steps += 1
        self._set_rate()

    def state_dict(self) -> dict[str, float]:
        """Give how far the schedule is, for a checkpoint."""
        return {"steps": self.steps, "peak": self.peak}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from where a saved schedule was."""
        self.steps = int(state["steps"])
        self.peak = float(state["peak"])
        self._set_rate()

    def _set_rate(self) -> None:
        self.optimizer.lr = self.peak * self._share(self.steps)

    def _share(self, s: int) -> float:
        """The part of the peak rate that update s gets."""
        if s < self.warmup_steps:
            return (s + 1) / (self.warmup_steps + 1)
        progress = (s - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return (1 + math.cos(math.pi * min(progress, 1.0))) / 2
