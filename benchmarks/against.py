"""Benchmarks beside an earlier commit: `python -m benchmarks.against REV`.

Both run in child processes that take turns on one core: what the machine does meanwhile
falls on both, and threads play no part. The paths of `benchmarks.paths` are timed, and
the works of `benchmarks.works` that are named.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import machine
from benchmarks.harness import ROOT
from benchmarks.works import BY_NAME

ROUNDS, SECONDS = 15, 0.1
OURS = "benchmarks/peers/ours.py"
Figures = dict[str, float]


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    result = argparse.ArgumentParser(
        "python -m benchmarks.against", description=__doc__
    )
    result.add_argument("revision", help="the commit to compare with, such as HEAD~10")
    result.add_argument("--rounds", type=int, default=ROUNDS)
    result.add_argument("--seconds", type=float, default=SECONDS, help="a path's")
    result.add_argument("--only", default="", help="paths whose name has this in it")
    result.add_argument("--works", nargs="*", choices=BY_NAME, default=[])
    result.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return result


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """Give a folder with that commit's packages, timed by this tree's benchmarks.

    How a work is written with minigrad, `peers/ours.py`, is that commit's business.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", revision, "minigrad", "nn", "apps", OURS],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        # What describes the machine is read by the benchmarks.
        shared = [ROOT / "apps" / "machine.py", *(ROOT / "benchmarks").rglob("*.py")]
        for path in shared:
            copy = Path(folder) / path.relative_to(ROOT)
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        yield Path(folder)


def measure(options: argparse.Namespace) -> Figures:
    """Return the seconds of each path and work in the tree that was imported."""
    from benchmarks import child, paths

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    found = {}
    for name, step in paths.all_paths().items():
        if options.only in name:
            found[name] = seconds_of(step, options.seconds)
    for name in options.works:
        work = BY_NAME[name]
        label = child.offer("minigrad")["labels"][work.kind][0]
        answer = child.measure("minigrad", label, name, 5 * options.seconds)
        found[work.title] = answer["seconds"]
    return found


def seconds_of(step: Callable[[], object], seconds: float) -> float:
    """Return the median time of a call, in samples of a hundredth of the time each."""
    step()
    calls, taken = 1, 0.0
    while taken < seconds / 100 and calls < 10_000:
        calls *= 2
        taken = sample(step, calls)
    end = time.perf_counter() + seconds
    samples = [sample(step, calls) / calls]
    while time.perf_counter() < end:
        samples.append(sample(step, calls) / calls)
    return statistics.median(samples)


def sample(step: Callable[[], object], calls: int) -> float:
    """Return the seconds of some calls."""
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return time.perf_counter() - start


def ask(tree: Path, arguments: list[str]) -> Figures:
    """Run one child in a tree and return its answer."""
    environment = machine.child_environment() | dict.fromkeys(machine.POOLS, "1")
    environment["PYTHONPATH"] = str(tree)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.against", "--child"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=tree,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer: Figures = json.loads(done.stdout.splitlines()[-1])
    return answer


def compare(options: argparse.Namespace, arguments: list[str]) -> str:
    """Let both trees take turns; return a table of the medians of their ratios."""
    before: list[Figures] = []
    after: list[Figures] = []
    with tree_of(options.revision) as old:
        sides = [(old, before), (ROOT, after)]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for tree, figures in sides[:: -1 if number % 2 else 1]:
                figures.append(ask(tree, arguments))
    return table(before, after)


def table(before: list[Figures], after: list[Figures]) -> str:
    """Return a Markdown table: each path's times and the median of its ratios."""
    lines = [
        "| path | before | after | ratio | spread |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in before[0]:
        old = [figures[name] for figures in before]
        new = [figures[name] for figures in after]
        ratios = sorted(b / a for a, b in zip(old, new, strict=True))
        spread = f"{ratios[len(ratios) // 4]:.2f}-{ratios[-1 - len(ratios) // 4]:.2f}"
        times = (f"{statistics.median(side) * 1e6:.4g} µs" for side in (old, new))
        ratio = statistics.median(ratios)
        lines.append(f"| {name} | {' | '.join(times)} | {ratio:.2f} | {spread} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Compare, or answer as a child."""
    options = parser().parse_args(arguments)
    if options.child:
        print(json.dumps(measure(options)))
    else:
        print(compare(options, arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
