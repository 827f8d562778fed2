"""Which training is small enough to be done a hundred times in a test?"""

from __future__ import annotations

import io
import signal
from collections.abc import Callable

import numpy as np
from rich.console import Console

import minigrad as mg
import nn
from apps.job import Job, minibatches
from apps.run_folder import RunFolder

CONFIG = {"app": "line"}


STEPS = 15


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def make_job(
    stop_at: int | None = None, stop: Callable[[], None] = interrupt
) -> Job:
    """A small regression with dropout, so that the generator's state counts."""
    generator = mg.Generator(0)
    model = nn.Sequential(
        nn.Linear(3, 8, generator=generator),
        nn.Dropout(0.5, generator=generator),
        nn.Linear(8, 1, generator=generator),
    )
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    optimizer = nn.Adam(model.parameters(), lr=0.01)
    calls = 0

    def inputs(batch: np.ndarray) -> tuple[tuple[np.ndarray, ...], int]:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            stop()
        return (x[batch],), len(batch)

    def loss(rows: mg.Tensor) -> mg.Tensor:
        return nn.mse_loss(model(rows), mg.sum(rows, axis=1, keepdims=True))

    return Job(
        model=model,
        optimizer=optimizer,
        generator=generator,
        epochs=3,
        batches=lambda epoch: minibatches(20, 4, 1, epoch),
        inputs=inputs,
        loss=loss,
        max_norm=1.0,
        warmup=2 / STEPS,
    )


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def outcome(job: Job, run: RunFolder) -> tuple[list[object], list[object]]:
    """The parameters, and the logged losses, after training."""
    weights = [(k, v.tobytes()) for k, v in job.model.state_dict().items()]
    return weights, [(m["epoch"], m["step"], m["loss"]) for m in run.metrics()]
