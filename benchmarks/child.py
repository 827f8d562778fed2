"""A child process that runs one work of one framework, alone, and times it.

`python -m benchmarks.child PEER` says what the peer offers, and
`python -m benchmarks.child PEER LABEL WORK SECONDS` measures; the last line of the
output is the answer as JSON.
"""

import gc
import json
import mmap
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import machine, peers
from benchmarks.peers import Step
from benchmarks.works import BY_NAME, Work

CHECKED_STEPS = 3
FEWEST_SAMPLES, MOST_SAMPLES = 3, 200


def offer(peer_name: str) -> dict[str, Any]:
    """Return the peer's version, its kernels and its implementations by work kind."""
    peer = peers.load(peer_name)
    labels = {kind: list(makers) for kind, makers in peer.WORKS.items()}
    kernels = peer.kernels() or machine.openblas_kernels()
    return {"version": peer.VERSION, "kernels": kernels, "labels": labels}


def measure(peer_name: str, label: str, work_name: str, seconds: float) -> dict:
    """Return the step's seconds, peak bytes over import and the numbers to check.

    A tiny problem comes first, because frameworks finish their import at the first
    step (PyTorch's first optimiser takes 65 MB). The garbage collector stays on, as it
    is for a user. The steps that are checked also warm up.
    """
    work = BY_NAME[work_name]
    peer = peers.load(peer_name)
    make = peer.WORKS[work.kind][label]
    numbers(make(work.tiny())())
    problem = work.problem()
    gc.collect()
    imported = machine.reset_peak_memory()
    step = make(problem)
    warm = time.perf_counter() + seconds / 4
    checked = [numbers(step()) for _ in range(CHECKED_STEPS)]
    while time.perf_counter() < warm:
        step()
    samples = time_samples(step, work, seconds, peer.synchronize)
    return {
        "seconds": statistics.median(samples),
        "samples": len(samples),
        "peak_bytes": max(machine.peak_memory() - imported, mmap.PAGESIZE),
        "checked": checked,
    }


def numbers(result: Any) -> list[float]:
    """Return what a step gave as plain numbers."""
    parts = result if isinstance(result, tuple) else (result,)
    return [float(part.item()) for part in parts]


def time_samples(
    step: Step, work: Work, seconds: float, wait: Callable[[], None] = lambda: None
) -> list[float]:
    """Return the seconds of one step (of one of its parts), measured several times.

    `wait` returns when all that was begun is done.
    """
    wait()
    samples: list[float] = []
    repeats = range(work.calls)
    end = time.perf_counter() + seconds
    while len(samples) < FEWEST_SAMPLES or (
        time.perf_counter() < end and len(samples) < MOST_SAMPLES
    ):
        start = time.perf_counter()
        for _ in repeats:
            step()
        wait()
        samples.append((time.perf_counter() - start) / (work.calls * work.parts))
    return samples


def main(arguments: list[str]) -> None:
    """Answer one question of the harness."""
    machine.restrict_to_threads()
    if len(arguments) == 1:
        answer = offer(arguments[0])
    else:
        peer, label, work, seconds = arguments
        answer = measure(peer, label, work, float(seconds))
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
