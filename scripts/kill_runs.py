"""Killed runs: does each end as if it had not been killed?

Trains a small captioner to its end. Then, again and again: begins the same run, kills
it (SIGKILL) at a random moment, looks whether its checkpoint can be read, and resumes
it to its end, now and then killing the resumed process too. The last checkpoint must be
equal bit for bit to that of the first run, and the metrics but for the speed.

    python -m scripts.kill_runs [--kills 100] [--seed 0]

A checkpoint is written after every step here, so that many kills meet one. Half of the
moments are spread over the whole run, imports and scoring included; the others lie
within a save.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ["--wordvec-dim", "12", "--hidden-dim", "24", "--epochs", "4"]
SETTINGS += ["--batch", "32", "--dropout", "0.5", "--device", "cpu"]
ALSO_WHILE_RESUMING = 0.3  # how likely a resumed run is killed too

# What a child says it is doing, a byte each.
PLACES = {
    b"i": "imports",
    b"d": "opening the data",
    b"t": "training",
    b"c": "saving a checkpoint",
    b"m": "writing metrics",
    b"f": "scoring",
}


def child(pipe: int, arguments: list[str]) -> None:
    """Be the application, save after every step, and say where it is."""
    os.write(pipe, b"i")
    import minigrad as mg
    from apps import cli
    from apps import run as runs
    from apps.captioning import train as training
    from apps.run_folder import RunFolder

    def marked(owner: Any, name: str, inside: bytes, after: bytes) -> None:
        function = getattr(owner, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            os.write(pipe, inside)
            try:
                return function(*args, **options)
            finally:
                os.write(pipe, after)

        setattr(owner, name, wrapper)

    runs.SAVE_EVERY = 0.0
    marked(training, "load_data", b"d", b"t")
    marked(mg, "save_checkpoint", b"c", b"t")
    marked(RunFolder, "_write_metrics", b"m", b"t")
    marked(runs.Loop, "train", b"t", b"f")
    cli.minigrad(arguments)


@dataclass
class Process:
    """A running child and what it said of itself."""

    process: subprocess.Popen[bytes]
    pipe: int
    said: bytes = b""

    @classmethod
    def start(cls, *arguments: object) -> Process:
        """Start the application beside this process."""
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "scripts.kill_runs", "--child", str(writing)]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            pass_fds=[writing],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(writing)
        return cls(process, reading)

    def listen(self) -> bool:
        """Wait for more of what it says; False when it has ended."""
        more = os.read(self.pipe, 1)
        self.said += more
        return bool(more)

    def kill_after(self, seconds: float) -> bool:
        """Kill it some time from now; False if it had ended before."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self._was_killed()

    def kill_in_save(self, number: int, seconds: float) -> bool:
        """Kill it so long after the beginning of a save; False if it had ended."""
        while self.said.count(b"c") < number:
            if not self.listen():
                return self._was_killed()
        time.sleep(seconds)
        self.process.kill()
        return self._was_killed()

    def finish(self) -> tuple[int, str]:
        """Let it come to its end. Gives the exit status and its error output."""
        _, errors = self.process.communicate()
        os.close(self.pipe)
        return self.process.returncode, errors.decode()

    def _was_killed(self) -> bool:
        while self.listen():
            pass
        status, errors = self.finish()
        if status not in (0, -signal.SIGKILL):
            raise SystemExit(f"a run ended by itself with status {status}:\n{errors}")
        return status == -signal.SIGKILL


@dataclass
class Trials:
    """What has been seen so far."""

    folder: Path
    rng: random.Random
    seconds: float = 0.0  # how long a whole run takes
    saving: float = 0.0  # how long a save takes
    saves: int = 0  # in a whole run
    kills: int = 0
    unreadable: int = 0
    leftovers: int = 0
    unsaved: int = 0
    problems: list[str] = field(default_factory=list)
    places: collections.Counter[str] = field(default_factory=collections.Counter)

    @property
    def data(self) -> Path:
        """The drawn pictures."""
        return self.folder / "shapes"

    def measure(self, run: Path) -> dict[str, Any]:
        """Train without a kill; note how long things take. Gives how it ended."""
        process = Process.start(*self.begin(run))
        start, saves, begun = time.perf_counter(), [], None
        while process.listen():
            now = time.perf_counter()
            if begun is not None:
                saves.append(now - begun)
            begun = now if process.said.endswith(b"c") else None
        status, errors = process.finish()
        if status:
            raise SystemExit(f"the uninterrupted run failed:\n{errors}")
        self.seconds = time.perf_counter() - start
        self.saves, self.saving = len(saves), statistics.median(saves)
        return outcome(run)

    def begin(self, run: Path) -> list[object]:
        """The arguments that begin a run."""
        return ["caption", "train", "--data", self.data, "--run", run, *SETTINGS]

    def go_on(self, run: Path) -> list[object]:
        """The arguments that go on with a run, or begin it if it never began."""
        if (run / "config.json").exists():
            return ["caption", "train", "--resume", run, "--device", "cpu"]
        status, errors = Process.start("caption", "train", "--resume", run).finish()
        if status != 1 or not errors.startswith("Error: ") or "Trace" in errors:
            self.problems.append(f"{run}: no clear refusal, but {errors!r}")
        return self.begin(run)

    def kill(self, run: Path, arguments: list[object]) -> bool:
        """Let a process run in a folder and kill it; False if it ended before."""
        process = Process.start(*arguments)
        if self.rng.random() < 0.5:
            killed = process.kill_after(self.rng.uniform(0, self.seconds))
        else:
            number = self.rng.randint(1, self.saves)
            seconds = self.rng.uniform(0, self.saving)
            killed = process.kill_in_save(number, seconds)
        if killed:
            self.kills += 1
            self.places[PLACES.get(process.said[-1:], "start of Python")] += 1
            self.leftovers += any(run.glob(".*.part"))
            self.look_at(run / "checkpoint.h5")
        return killed

    def look_at(self, checkpoint: Path) -> None:
        """Read a checkpoint that a killed process left, if it left one."""
        import minigrad as mg

        if not checkpoint.exists():
            self.unsaved += 1
            return
        try:
            mg.load_checkpoint(checkpoint)
        except Exception as error:
            self.unreadable += 1
            print(f"unreadable: {error}")

    def trial(self, number: int, expected: dict[str, Any]) -> bool:
        """Kill a run, resume it to its end. Gives whether it ended as expected."""
        run = self.folder / f"run-{number}"
        while not self.kill(run, self.begin(run)):
            run = run.with_name(f"{run.name}-again")  # it ended before its moment
        while self.rng.random() < ALSO_WHILE_RESUMING:
            self.kill(run, self.go_on(run))
        status, errors = Process.start(*self.go_on(run)).finish()
        if status:
            self.problems.append(f"{run.name}: status {status}: {errors}")
            return False
        if any(run.glob(".*.part")):
            self.problems.append(f"{run.name}: something was left behind")
        return self.is_equal(run, expected)

    def is_equal(self, run: Path, expected: dict[str, Any]) -> bool:
        """Compare how a run ended with how it should have."""
        found = outcome(run)
        names = sorted(found.keys() | expected.keys())
        other = [n for n in names if found.get(n) != expected.get(n)]
        if other:
            self.problems.append(f"{run.name} differs in {', '.join(other)}")
        return not other


def outcome(run: Path) -> dict[str, Any]:
    """All bits of a run's checkpoint, and its metrics but for the speed."""
    import h5py

    found: dict[str, Any] = {}

    def note(name: str, node: Any) -> None:
        for key, value in node.attrs.items():
            found[f"{name}@{key}"] = value
        if isinstance(node, h5py.Dataset):
            found[name] = (str(node.dtype), node.shape, _bits(node[()]))

    with h5py.File(run / "checkpoint.h5") as file:
        note("", file)
        file.visititems(note)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        record.pop("per_second", None)
    return {**found, "metrics": records}


def _bits(value: Any) -> bytes:
    return value if isinstance(value, bytes) else value.tobytes()


def main() -> int:
    """Kill as often as asked; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-runs-") as folder:
        return kill_many(Path(folder), asked.kills, asked.seed)


def kill_many(folder: Path, count: int, seed: int) -> int:
    """Make the data, train once in peace, then kill; give the exit status."""
    trials = Trials(folder, random.Random(seed))
    made = ["data", "make-shapes", trials.data, "--train", "40", "--val", "8"]
    if Process.start("caption", *made).finish()[0]:
        raise SystemExit("the data could not be made")
    expected = trials.measure(folder / "whole")
    print(
        f"a whole run takes {trials.seconds:.1f} s and saves {trials.saves} times, "
        f"{1000 * trials.saving:.1f} ms each"
    )
    equal = 0
    for number in range(1, count + 1):
        equal += trials.trial(number, expected)
        if number % 10 == 0:
            print(f"{number} of {count}: {equal} equal", flush=True)
    tell(trials, count)
    print(
        f"{count} kills: {trials.unreadable} unreadable checkpoints, "
        f"{equal} of {count} resumed runs equal"
    )
    good = equal == count and not trials.unreadable and not trials.problems
    return 0 if good else 1


def tell(trials: Trials, count: int) -> None:
    """Say where the kills landed, and what went wrong."""
    for problem in trials.problems:
        print(problem)
    print(f"kills by place: {dict(trials.places.most_common())}")
    print(
        f"{trials.kills - count} more kills while resuming; {trials.unsaved} of all "
        f"before the first checkpoint, {trials.leftovers} left an unfinished file"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), sys.argv[3:])
    else:
        sys.exit(main())
