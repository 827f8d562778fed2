"""The command that measures minigrad beside its peers."""

import argparse
import os
import sys
from pathlib import Path

from benchmarks import harness, machine, peers, report
from benchmarks.peers import MODULES, ON_GPUS
from benchmarks.works import BY_NAME, WORKS

ROUNDS, SECONDS = 5, 1.0
QUICK_ROUNDS, QUICK_SECONDS = 1, 0.2


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    result = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    result.add_argument(
        "--works", nargs="+", choices=BY_NAME, default=list(BY_NAME), metavar="WORK"
    )
    result.add_argument(
        "--peers", nargs="+", choices=MODULES, default=list(MODULES), metavar="PEER"
    )
    result.add_argument(
        "--repeats", type=positive, help=f"rounds, {ROUNDS} if not given"
    )
    result.add_argument(
        "--device", default="cpu", help="cuda: minigrad and PyTorch on a GPU"
    )
    result.add_argument(
        "--cores", type=positive, default=2, help="that a framework is pinned to"
    )
    result.add_argument("--quick", action="store_true", help="one short round")
    result.add_argument(
        "--output", nargs="+", type=Path, default=[], help="FILE.md, FILE.json"
    )
    result.epilog = f"Works: {', '.join(BY_NAME)}. Peers: {', '.join(MODULES)}."
    return result


def positive(text: str) -> int:
    """Return a number of rounds. Raises: ArgumentTypeError below 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: give 1 up")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the report; 1 if a framework failed or computed another thing."""
    options = parser().parse_args(arguments)
    if options.device != "cpu":
        options.peers = [peer for peer in options.peers if peer in ON_GPUS]
        os.environ[peers.VARIABLE] = options.device
    os.environ[machine.CORES] = str(options.cores)
    rounds = options.repeats or (QUICK_ROUNDS if options.quick else ROUNDS)
    seconds = QUICK_SECONDS if options.quick else SECONDS
    works = [work for work in WORKS if work.name in options.works]
    results = harness.run(works, options.peers, rounds, seconds, progress)
    print(report.markdown(results))
    for path in options.output:
        report.write(results, path)
    return int(any(row.trouble for row in results.rows))


def progress(message: str) -> None:
    """Say what is being measured, apart from the report."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
