"""Trials: the same work done in several ways, timed on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController, threadpool_limits

from apps import machine

HOUSE = Path(__file__).resolve().parents[1]
SLICE, ROUNDS = 0.05, 4  # seconds at a time, for ways that take turns
LONG = 0.25  # seconds, in a process of its own
CHILD_TIMEOUT = 20.0  # seconds
GAIN = 1.05  # less is noise

Work = Callable[[], object]
Shape = tuple[int, int, int]

SMALL, LARGE, SQUARE = (25, 512, 2048), (1024, 1024, 1024), (512, 512, 512)
PARAMETERS = 670_000
PICTURES = (5, 64, 56, 56)  # 4 MB

# Kernels for AVX2 and AVX-512, which OpenBLAS may fail to choose in a virtual machine.
CORE_TYPES = dict.fromkeys(("x86_64", "AMD64"), ("Haswell", "SkylakeX"))


@dataclass(frozen=True)
class Trial:
    """Seconds of one piece of work by the way it was done, the present way first.

    `changes` says how to get to each other way; `alone` why there is none.
    """

    work: str
    seconds: Mapping[str, float]
    changes: Mapping[str, str] = field(default_factory=dict)
    alone: str = ""

    @property
    def now(self) -> str:
        """The present way."""
        return next(iter(self.seconds))

    @property
    def best(self) -> str:
        """The fastest way, or the present one where the gain is within the noise."""
        best = min(self.seconds, key=self.seconds.__getitem__)
        return best if self.speed(best) >= GAIN else self.now

    def speed(self, way: str) -> float:
        """How many times as fast as now."""
        return self.seconds[self.now] / self.seconds[way]


def run_all() -> list[Trial]:
    """Try what could make this machine faster."""
    trials = [adam_trial(), memory_trial()]
    blas = machine.blas()
    if "num_threads" in blas:
        trials += [threads_trial(shape, blas) for shape in (SMALL, LARGE)]
    if blas["internal_api"] == "openblas":
        trials.append(kernels_trial(by_core_type()))
    return trials


# -- timing ------------------------------------------------------------------------


def durations(work: Work, seconds: float) -> list[float]:
    """The seconds of each run of a work, which is repeated for some time."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def in_turns(ways: Mapping[Any, Work]) -> dict[Any, float]:
    """The median seconds of each way; they take turns."""
    taken: dict[Any, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, work in ways.items():
            work()
            taken[way] += durations(work, SLICE)
    return {way: statistics.median(times) for way, times in taken.items()}


def ask_child(task: str, **environment: str) -> Any:
    """The answer of one of TASKS in a new process, where a variable "" is unset.

    Raises: SubprocessError if it crashes or takes too long.
    """
    variables = os.environ | environment
    done = subprocess.run(
        [sys.executable, "-m", "apps.trials", task],
        cwd=HOUSE,
        env={name: value for name, value in variables.items() if value},
        capture_output=True,
        timeout=CHILD_TIMEOUT,
        check=True,
    )
    return json.loads(done.stdout)


# -- Numba -------------------------------------------------------------------------


def adam_trial() -> Trial:
    """Adam's update in NumPy and in Numba's loop; compiled steps take the faster."""
    from nn.fast import make_adam
    from nn.updates import adam_update

    loop = make_adam()
    ways = {"NumPy": _updating(adam_update.primitive.forward)}  # type: ignore[attr-defined]
    if loop is not None:
        ways["Numba's loop"] = _updating(loop)
    seconds = in_turns(ways)
    return Trial(
        f"Adam, {PARAMETERS:,} parameters, compiled step",
        dict(sorted(seconds.items(), key=lambda way: way[1])),
        alone="Numba is not installed: pip install -e '.[fast]', then run this again.",
    )


def _updating(forward: Callable[..., object]) -> Work:
    p, gradient, m, v = np.random.default_rng(0).random((4, PARAMETERS), np.float32)
    step, rate = np.zeros((), np.int64), np.array(1e-3)
    settings = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
    return lambda: forward(p, gradient, step, rate, m, v, **settings, decoupled=False)


# -- memory ------------------------------------------------------------------------


def memory_trial() -> Trial:
    """A step that gives its memory back to the system, and one that keeps it.

    Each in a process of its own: nothing undoes `mg.keep_memory()`.
    """
    answers = {way: ask_child(way) for way in ("memory given back", "memory kept")}
    return Trial(
        "forward and backward pass, arrays of 4 MB",
        {way: seconds for way, seconds in answers.items() if seconds},
        {"memory kept": "Call mg.keep_memory() where your program begins."},
        alone="mg.keep_memory() needs Linux with glibc.",
    )


def time_step() -> float:
    """Seconds of four layers, forward and backward."""
    import minigrad as mg

    x = mg.ones(PICTURES)
    scale = mg.ones((PICTURES[1], 1, 1), requires_grad=True)

    def step() -> None:
        y = x
        for _ in range(4):
            y = mg.relu(y * scale)
        mg.grad(y.sum(), [scale])

    return min(durations(step, LONG))


def time_step_kept() -> float | None:
    """The same where memory is kept; None where it cannot be."""
    import minigrad as mg

    return time_step() if mg.keep_memory() else None


# -- BLAS --------------------------------------------------------------------------


def product(m: int, k: int, n: int) -> Work:
    """A matrix product in float32."""
    a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
    out = np.empty((m, n), np.float32)
    return lambda: np.matmul(a, b, out=out)


def product_name(m: int, k: int, n: int) -> str:
    """A matrix product as it is written."""
    return f"({m}, {k}) @ ({k}, {n})"


def threads_trial(shape: Shape, blas: Mapping[str, Any]) -> Trial:
    """A product with as many threads as BLAS has, as there are cores, and with one."""
    now, limit = blas["num_threads"], ThreadpoolController().wrap
    counts = dict.fromkeys((now, machine.cores(), 1))
    work = product(*shape)
    seconds = in_turns({n: limit(limits=n, user_api="blas")(work) for n in counts})
    names = {n: "1 thread" if n == 1 else f"{n} threads" for n in counts}
    variable = threads_variable(blas)
    return Trial(
        f"{product_name(*shape)}, BLAS threads",
        {names[n]: seconds[n] for n in counts},
        {
            names[n]: f"Set {variable}={n} if most products are like this."
            for n in counts
        },
        alone="there is one core, with one thread.",
    )


def threads_variable(blas: Mapping[str, Any]) -> str:
    """The environment variable for the number of BLAS threads."""
    if blas.get("threading_layer") == "openmp":
        return "OMP_NUM_THREADS"
    return f"{blas['internal_api'].upper()}_NUM_THREADS"


def by_core_type() -> dict[str, tuple[str, float]]:
    """Kernels and seconds of a product by OPENBLAS_CORETYPE, "" where it is unset.

    The present one comes first; one that crashes, as without AVX-512, is left out.
    """
    measured = {os.environ.get("OPENBLAS_CORETYPE", ""): ask_child("product")}
    for core_type in ("", *CORE_TYPES.get(platform.machine(), ())):
        if core_type not in measured:
            with contextlib.suppress(subprocess.SubprocessError):
                measured[core_type] = ask_child("product", OPENBLAS_CORETYPE=core_type)
    return measured


def kernels_trial(measured: Mapping[str, tuple[str, float]]) -> Trial:
    """A product with OpenBLAS's kernels for several processors.

    Where it lacks the ones that were asked for, it took others: the same as before.
    """
    seconds: dict[str, float] = {}
    changes = {}
    for asked, (kernels, taken) in measured.items():
        if kernels not in seconds:
            seconds[kernels] = taken
            pin = f"Set OPENBLAS_CORETYPE={asked}." if asked else ""
            changes[kernels] = pin or "Unset OPENBLAS_CORETYPE."
    return Trial(
        f"{product_name(*SQUARE)}, one core, BLAS kernels",
        seconds,
        changes,
        alone="OpenBLAS has no others.",
    )


def time_product() -> tuple[str, float]:
    """The kernels and the seconds of a product on one core."""
    with threadpool_limits(1, user_api="blas"):
        seconds = min(durations(product(*SQUARE), LONG))
    return machine.blas()["architecture"], seconds


TASKS: dict[str, Callable[[], object]] = {
    "product": time_product,
    "memory given back": time_step,
    "memory kept": time_step_kept,
}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]]()))
