"""How does the learning rate change? Schedules that set an optimiser's `lr`.

A loop calls `step()` after every update or after every epoch, as it likes: a schedule
counts calls, and `every` says how many of them are one step of it. In a loop that calls
after every update, `every=updates_per_epoch` makes a schedule of epochs.

A schedule that goes on from a checkpoint is built on the optimiser first and then given
its own state back: `schedule.load_state_dict(saved)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from nn.checks import (
    FACTOR,
    NOT_NEGATIVE,
    check_fit,
    check_mapping,
    check_number,
    check_size,
    is_integer,
    listed,
)
from nn.optim import Optimizer


class Schedule:
    """Base class: an optimiser, and how often `step` was called.

    A subclass names the number that its rates follow from, an attribute of its own, and
    writes `_set_rate`. The settings of a schedule are its constructor's: its state is
    how far it is.
    """

    follows: ClassVar[str]

    def __init__(self, optimizer: Optimizer, every: int = 1) -> None:
        kind = type(self).__name__
        if not hasattr(optimizer, "lr"):
            raise TypeError(
                f"{kind}: optimizer is a {type(optimizer).__name__}, which has no "
                "learning rate `lr` to set. Give an optimiser, such as nn.Adam(...)."
            )
        check_size(kind, every=every)
        self.optimizer = optimizer
        self.every = int(every)
        self.steps = 0

    def step(self) -> None:
        """Set the next learning rate; every `every`-th call is a step."""
        self.steps += 1
        if self.steps % self.every == 0:
            self._set_rate()

    def state_dict(self) -> dict[str, Any]:
        """Give how far the schedule is, as plain data for a checkpoint."""
        kind, value = type(self).__name__, getattr(self, self.follows)
        return {"schedule": kind, "steps": self.steps, self.follows: value}

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise unless `load_state_dict` could take a state; nothing is loaded.

        Raises: TypeError for what is no dictionary; ValueError that names everything
        that does not fit.
        """
        kind = type(self).__name__
        check_mapping(kind, state)
        way_out = "Build the schedule as it was when the state was saved."
        check_fit(kind, "schedule", list(self._mismatches(state)), way_out)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a saved schedule was, with its learning rate.

        Raises: as `check_state_dict`; then nothing is changed.
        """
        self.check_state_dict(state)
        self.steps = int(state["steps"])
        setattr(self, self.follows, float(state[self.follows]))
        self._restore()

    def _set_rate(self) -> None:
        """Set the optimiser's rate from `steps`, a multiple of `every`."""
        raise NotImplementedError

    def _restore(self) -> None:
        """Set the optimiser's rate after `steps` and the number were loaded."""

    def _mismatches(self, state: Mapping[str, Any]) -> Iterator[str]:
        kind = type(self).__name__
        saved = state.get("schedule", kind)  # older states do not say
        if saved != kind:
            yield f"it was saved by {saved!r}, this is {kind!r}"
            return
        known = ("schedule", "steps", self.follows)
        steps, value = state.get("steps", 0), state.get(self.follows, 0)
        fit = is_integer(steps) and steps >= 0
        wrong = [] if fit else [f"steps is {steps!r}"]
        if not NOT_NEGATIVE.hold(value):
            wrong.append(f"{self.follows} is {value!r}")
        yield from listed(
            {
                "missing": [key for key in known[1:] if key not in state],
                "unexpected": [key for key in state if key not in known],
                "out of range": wrong,
            }
        )


class ExponentialDecay(Schedule):
    """Multiply the learning rate by `decay` at every step.

    The courses' loops lower it once an epoch: call `step()` there, or give `every`.

    Raises: TypeError for what is no number; ValueError unless 0 < decay <= 1.
    """

    follows = "lr"

    def __init__(self, optimizer: Optimizer, decay: float, every: int = 1) -> None:
        super().__init__(optimizer, every)
        why = (
            "but the learning rate is multiplied by it again and again and would "
            "vanish at once or grow without end"
        )
        check_number("ExponentialDecay", "decay", decay, FACTOR, why)
        self.decay = float(decay)

    @property
    def lr(self) -> float:
        """The optimiser's learning rate."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimizer.lr = value

    def _set_rate(self) -> None:
        self.lr *= self.decay


class CosineWithWarmup(Schedule):
    """Raise the learning rate in a line to the optimiser's, then let a cosine lower it.

    Step number s, counted from 0, has the rate lr * (s + 1) / (warmup_steps + 1)
    before s = warmup_steps and then lr * (1 + cos(pi * p)) / 2, where p goes from 0 at
    s = warmup_steps to 1 at s = total_steps. The first rate is set at once.

    Raises: TypeError for what is no integer; ValueError unless 0 <= warmup_steps <
    total_steps.
    Source: Loshchilov and Hutter, SGDR (2017), equation 5, for the cosine; Goyal et
    al., Accurate, large minibatch SGD (2017), section 2.2, for the warm-up.
    """

    follows = "peak"

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, total_steps: int, every: int = 1
    ) -> None:
        super().__init__(optimizer, every)
        problem = (
            f"CosineWithWarmup: warmup_steps is {warmup_steps!r} of total_steps "
            f"{total_steps!r}, which leaves no step for the cosine. Give integers with "
            "0 <= warmup_steps < total_steps."
        )
        if not is_integer(warmup_steps) or not is_integer(total_steps):
            raise TypeError(problem)
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(problem)
        self.warmup_steps = int(warmup_steps)
        self.total_steps = int(total_steps)
        self.peak = optimizer.lr
        self._set_rate()

    def _set_rate(self) -> None:
        self.optimizer.lr = self.peak * self._share(self.steps // self.every)

    def _restore(self) -> None:
        self._set_rate()

    def _share(self, s: int) -> float:
        """The part of the peak rate that step s gets."""
        if s < self.warmup_steps:
            return (s + 1) / (self.warmup_steps + 1)
        progress = (s - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return (1 + math.cos(math.pi * min(progress, 1.0))) / 2
