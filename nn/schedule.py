"""Learning-rate schedules: they set an optimiser's `lr`.

A loop calls `step()` after every update or after every epoch: a schedule counts calls,
and `every` says how many of them are one step of it. In a loop that calls after every
update, `every=updates_per_epoch` makes a schedule of epochs.

To resume, build the schedule on the optimiser first and then give it its own state
back: `schedule.load_state_dict(saved)`.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from nn.checks import COUNT, DECAY, NOT_NEGATIVE, check_number, check_size, is_integer
from nn.optimizer import Optimizer
from nn.states import Expected, check_mapping, check_state


class Schedule:
    """Base class: an optimiser, and how often `step` was called.

    A subclass names the attribute that its rates follow from and writes `_set_rate`.
    Its settings are its constructor's: its state is how far it is.
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
        call = f"{kind}.load_state_dict"
        check_mapping(call, state)
        fields: dict[str, Expected] = {"schedule": kind, "steps": COUNT}
        fields[self.follows] = NOT_NEGATIVE
        way_out = "Build the schedule as it was when the state was saved."
        # Older states do not name their schedule.
        check_state(call, {"schedule": kind, **state}, fields, way_out)

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
        """Set the optimiser's rate after a state was loaded."""


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
        check_number("ExponentialDecay", "decay", decay, DECAY, why)
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
    """Raise the learning rate linearly to the optimiser's, then anneal it by a cosine.

    Step s, counted from 0, has the rate lr * (s + 1) / (warmup_steps + 1) before
    s = warmup_steps and then lr * (1 + cos(pi * p)) / 2, where p goes from 0 at
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
        integers = is_integer(warmup_steps) and is_integer(total_steps)
        if not (integers and 0 <= warmup_steps < total_steps):
            raise (ValueError if integers else TypeError)(
                f"CosineWithWarmup: warmup_steps is {warmup_steps!r} of total_steps "
                f"{total_steps!r}, which leaves no step for the cosine. Give integers "
                "with 0 <= warmup_steps < total_steps."
            )
        self.warmup_steps = int(warmup_steps)
        self.total_steps = int(total_steps)
        self.peak = optimizer.lr
        self._set_rate()

    def _set_rate(self) -> None:
        self.optimizer.lr = self.peak * self._factor(self.steps // self.every)

    def _restore(self) -> None:
        self._set_rate()

    def _factor(self, s: int) -> float:
        """The fraction of the peak rate at step s."""
        if s < self.warmup_steps:
            return (s + 1) / (self.warmup_steps + 1)
        progress = (s - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return (1 + math.cos(math.pi * min(progress, 1.0))) / 2
