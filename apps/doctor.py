"""`minigrad doctor`: what this machine computes with, and what would make it faster."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from apps import options
from apps.console import Command, new_console, say

if TYPE_CHECKING:
    from apps.tables import Table
    from apps.trials import Trial


@click.command(cls=Command, context_settings=options.HELP)
def doctor() -> None:
    """Show what this machine computes with, and what would make it faster.

    Each piece of advice has a figure that was measured here, in some seconds.
    """
    from apps import machine, trials
    from apps.tables import Table, print_table

    console = new_console()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print_table(Table(("", "this machine"), list(facts().items())), console)
    say("Measuring ...", console)
    done = trials.run_all()
    print_table(trials_table(done), console, lines=True)
    for line in (*advice(done), *warning(load, machine.cores())):
        say(line, console)


# -- facts -------------------------------------------------------------------------


def facts() -> dict[str, str]:
    """What this machine computes with."""
    from apps import machine

    allowed, there = machine.cores(), os.cpu_count()
    return {
        "Python": platform.python_version(),
        "NumPy": importlib.metadata.version("numpy"),
        "processor": machine.processor(),
        "SIMD in NumPy": ", ".join(machine.simd()),
        "cores": str(allowed) if allowed == there else f"{allowed} of {there}",
        **blas_facts(machine.blas()),
        "GPU": gpu(),
        "Numba": numba(),
    }


def blas_facts(blas: Mapping[str, Any]) -> dict[str, str]:
    """BLAS, its kernels and threads, as far as they are known."""
    pinned = os.environ.get("OPENBLAS_CORETYPE")
    how = f"OPENBLAS_CORETYPE={pinned}" if pinned else "its own choice"
    kernels = f"{blas['architecture']} ({how})" if "architecture" in blas else "unknown"
    name = blas["internal_api"].replace("openblas", "OpenBLAS")
    return {
        "BLAS": f"{name} {blas.get('version') or ''}".strip(),
        "BLAS kernels": kernels,
        "BLAS threads": str(blas.get("num_threads", "unknown")),
    }


def gpu() -> str:
    """The GPU that `--device auto` takes, or why there is none and what helps."""
    import minigrad as mg
    from minigrad import gpus

    seen = gpus.look_for_gpus()
    if seen.number == 0:
        return f"none: {seen.why}. {seen.way_out}."
    device = mg.device("auto")
    return f"{device} ({device.reason}), {gpus.version()}"


def numba() -> str:
    """Numba's version, if it is there."""
    try:
        return importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


# -- advice ------------------------------------------------------------------------


def trials_table(trials: Iterable[Trial]) -> Table:
    """How long each work took in each way, and how fast that is beside now."""
    from apps.tables import Table

    rows = []
    for trial in trials:
        ways = [f"{way} (now)" if way == trial.now else way for way in trial.seconds]
        times = [f"{1e3 * seconds:.2f} ms" for seconds in trial.seconds.values()]
        speeds = [f"{trial.speed(way):.2f}" for way in trial.seconds]
        rows.append((trial.work, *map("\n".join, (ways, times, speeds))))
    return Table(("work", "with", "time", "speed"), rows)


def advice(trials: Iterable[Trial]) -> list[str]:
    """What each trial says to do; only a measured gain is worth a change."""
    return [f"- {trial.work}: {_verdict(trial)}" for trial in trials]


def _verdict(trial: Trial) -> str:
    if len(trial.seconds) == 1:
        return trial.alone
    if trial.best == trial.now:
        return "nothing to gain."
    gain = f"{trial.speed(trial.best):.2f} times as fast with {trial.best}."
    return f"{gain} {trial.changes[trial.best]}"


def warning(load: float, cores: int) -> list[str]:
    """What to think of the figures of a busy machine."""
    if load < cores / 2:
        return []
    return [
        f"The machine is busy (load {load:.1f}, cores: {cores}), and the figures show "
        "it: run this again when it is idle."
    ]
