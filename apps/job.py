"""A training job: what the loop needs to know of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import numpy as np

import minigrad as mg
import nn


def minibatches(count: int, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Split the numbers below count into shuffled minibatches, anew in each epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[i : i + size] for i in range(0, count, size)]


def some(total: int, count: int, seed: int) -> np.ndarray:
    """Some row numbers, `count` of them chosen at random by a seed, in order."""
    return np.sort(np.random.default_rng(seed).permutation(total)[:count])


@dataclass
class Job:
    """A model, how it is trained, and how far.

    `batches(epoch)` returns the same minibatches each time; `inputs(batch)` what the
    loss is computed from, and how many of `unit` that is; `loss(*inputs)` what is
    minimised. A step is `compiled`, or run as it is written. `warmup` is the fraction
    of steps in which the learning rate rises. `data` stands for all that is learned
    from: a run goes on with the same only. `preparation` says how inputs become
    numbers, and is kept with the run. `start_loss` is the first minibatch's.
    """

    model: nn.Module
    optimizer: Any
    generator: mg.Generator
    epochs: int
    batches: Callable[[int], Sequence[np.ndarray]]
    inputs: Callable[[np.ndarray], tuple[tuple[np.ndarray, ...], int]]
    loss: Callable[..., mg.Tensor]
    max_norm: float
    compiled: bool = True
    warmup: float = 0.0
    unit: str = "words"
    data: str = ""
    preparation: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    epoch_loss: float = 0.0
    start_loss: float | None = None

    def __post_init__(self) -> None:
        self.steps_per_epoch = len(self.batches(0))
        self.total_steps = steps = self.steps_per_epoch * self.epochs
        warmup = min(int(self.warmup * steps), steps - 1)
        self.schedule = nn.CosineWithWarmup(self.optimizer, warmup, steps)

    def update(self, batch: np.ndarray) -> tuple[float, int]:
        """Train on one minibatch; return its loss and how many units it had."""
        inputs, units = self.inputs(batch)
        take = self._compiled if self.compiled else self._take
        loss = take(*inputs)
        self.schedule.step()
        self.step += 1
        value = loss.item()  # the one number that a step waits for
        self.epoch_loss += value
        if self.step == 1:
            self.start_loss = value
        return value, units

    def _take(self, *inputs: Any) -> mg.Tensor:
        """One step of training on these inputs; return their loss."""
        loss = self.loss(*inputs)
        self.optimizer.zero_grad()
        loss.backward()
        nn.clip_grad_norm(self.model.parameters(), self.max_norm)
        self.optimizer.step()
        return loss

    @cached_property
    def _compiled(self) -> Callable[..., mg.Tensor]:
        return mg.compile(self._take)

    @property
    def is_finite(self) -> bool:
        """Whether every weight is; one number comes from the device."""
        flags = [np.isfinite(p.data).all() for p in self.model.parameters()]
        return float(reduce(np.logical_and, flags)) == 1


def not_finite(state: Mapping[str, Any]) -> str:
    """The names of the first few arrays of a state that are not finite."""
    found = [
        str(name)
        for name, array in state.items()
        if getattr(getattr(array, "dtype", None), "kind", "") == "f"
        and not np.isfinite(array).all()
    ]
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
