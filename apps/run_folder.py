"""A run on disk: a folder that one process at a time writes to.

`config.json` holds the settings, `preparation.json` how inputs become the network's
numbers, `metrics.jsonl` a line an epoch, `checkpoint.h5` everything needed to go on.
`.lock` is empty, never replaced, and locked by the process that writes the others.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from apps.errors import UserError
from apps.files import locked, write_text
from apps.limits import shown
from apps.settings import Settings
from apps.texts import read_bytes
from minigrad.io.damaged import reading, reason
from minigrad.io.files import remove_unfinished

S = TypeVar("S", bound=Settings)

WAY_OUT = "Undo what was changed in it, or train anew in another folder"
PUT_BACK = "Put back the one that training wrote, or train anew in another folder"
MOST_BYTES = {"config.json": 2**20, "preparation.json": 2**24}
# JSON lacks these numbers; they are written as strings.
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
# Larger integers are not exact in floating point.
MOST_STEPS = 2**53


class RunError(UserError, RuntimeError):
    """A run folder cannot be used as asked."""


class PreparationError(ValueError):
    """A preparation of inputs is not one of this app's."""


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.json"
        self.preparation_path = path / "preparation.json"  # old runs have none
        self.metrics_path = path / "metrics.jsonl"
        self.checkpoint_path = path / "checkpoint.h5"

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        preparation: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Start a run, alone in a folder. Raises: RunError if it has or gets none."""
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with run._locked():
                files = (run.config_path, run.metrics_path, run.checkpoint_path)
                if any(file.exists() for file in files):
                    raise RunError(
                        f"{path} holds a run already, which a new one would overwrite. "
                        "Choose another folder, or go on with that run by --resume."
                    )
                if preparation:
                    write_text(run.preparation_path, json.dumps(preparation) + "\n")
                run.write_config(config)
        except OSError as error:
            raise RunError(
                f"no run can begin in {path}: {_reason(error)}. Choose another folder "
                "by --run, or make room in this one."
            ) from error
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Find an earlier run, saved or not. Raises: RunError if there is none."""
        run = cls(path)
        if not run.config_path.is_file():
            raise RunError(
                f"{path} is not the folder of a run: config.json is missing. Give the "
                "folder that training named, or train anew without --resume."
            )
        return run

    def config(self) -> dict[str, Any]:
        """Read the settings. Raises: RunError if they are damaged."""
        return _read_json(self.config_path)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the settings, whole or not at all."""
        write_text(self.config_path, json.dumps(config, indent=2) + "\n")

    def preparation(self) -> dict[str, Any]:
        """Read how inputs become numbers, {} for an old run. Raises: RunError."""
        path = self.preparation_path
        return _read_json(path) if path.exists() else {}

    def settings(self, kind: type[S]) -> S:
        """Read the settings, each one checked. Raises: RunError that names misfits."""
        try:
            return kind.read(self.config())
        except ValueError as error:
            raise RunError(
                f"{self.config_path} does not hold the settings of a run: {error}. "
                f"{WAY_OUT}."
            ) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Read the log, but for a last line cut short. Raises: RunError."""
        if not self.metrics_path.exists():
            return []
        content = read_bytes(self.metrics_path, "lines of JSON", RunError)
        *lines, rest = content.split(b"\n")
        records = [self._record(line, i) for i, line in enumerate(lines, 1)]
        # The last line ends with a line break too, unless its writer was stopped.
        with contextlib.suppress(RunError):
            records.append(self._record(rest, len(lines) + 1))
        return records

    def _record(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            found = json.loads(line.decode("utf-8"), parse_int=_integer)
            return _checked_record(found)
        except (ValueError, RecursionError, MemoryError) as error:
            raise RunError(
                f"{self.metrics_path}: line {number} is damaged ({reason(error)}): "
                f"{line[:40]!r}. Mend or remove that line: training does not need it."
            ) from error

    def log_scores(self, epochs: int, **scores: float) -> None:
        """Add a trained network's scores to the metrics, at the last step there."""
        last = {"epoch": epochs, "step": epochs} | (self.metrics() or [{}])[-1]
        self.log(epoch=last["epoch"], step=last["step"], **scores)

    def log(self, **record: Any) -> None:
        """Add one line to the metrics, unless a run that was killed added it before."""
        records = self.metrics()
        if _line(record) not in map(_line, records):
            self._write_metrics([*records, record])

    def forget_after(self, step: int) -> None:
        """Drop lines logged after the step at which training resumes."""
        records = self.metrics()
        self._write_metrics([r for r in records if r["step"] <= step])

    def _write_metrics(self, records: list[dict[str, Any]]) -> None:
        with self.saving(self.metrics_path):
            write_text(self.metrics_path, "".join(map(_line, records)))

    @contextmanager
    def saving(self, file: Path) -> Iterator[None]:
        """A clear error where a file of a run cannot be written."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            cure = "free space" if full else "look after the disk and its permissions"
            raise RunError(
                f"{file} could not be written: {_reason(error)}. What was saved before "
                f"is untouched: {cure}, then go on by --resume {self.path}"
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock out others, remove what killed ones left. Raises: RunError."""
        with self._locked():
            remove_unfinished(self.path)
            yield

    def _locked(self) -> AbstractContextManager[object]:
        file = self.path / ".lock"
        taken = RunError(
            f"another process is training in {self.path}. Wait for its end, or stop "
            "it, before going on with the run; a new one needs another folder."
        )
        with self.saving(file):
            return locked(file, taken)


def new_folder(app: str) -> Path:
    """Create `runs/APP-DATE-TIME`, which nobody else gets. Raises: RunError."""
    name = f"{app}-{datetime.now():%Y%m%d-%H%M%S}"
    path = Path("runs") / name
    for count in itertools.count(2):
        try:
            path.parent.mkdir(exist_ok=True)
            # Making it is what takes the name: to look first would be too early.
            path.mkdir()
            break
        except OSError as error:
            if not isinstance(error, FileExistsError) or not path.parent.is_dir():
                why = _reason(error) if path.parent.is_dir() else "runs is a file"
                raise RunError(
                    f"the folder {path} for the results cannot be made: {why}. Name "
                    "another one, or work in a folder that you may write."
                ) from error
        path = path.with_name(f"{name}-{count}")
    return path


def digest(preparation: Mapping[str, Any]) -> str:
    """A hash of a preparation of inputs; empty for none."""
    text = json.dumps(preparation, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest() if preparation else ""


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _read_json(path: Path) -> dict[str, Any]:
    content = read_bytes(path, "JSON", RunError, MOST_BYTES[path.name])
    with reading(path, "JSON", RunError, WAY_OUT):
        found = json.loads(content.decode("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds no settings, but {shown(found)}")
        return found


def _integer(text: str) -> float:
    """A whole number of JSON; infinity beyond floating point."""
    return int(text) if len(text) < 300 else float(text)


def _checked_record(record: Any) -> dict[str, Any]:
    """One line of the metrics. Raises: ValueError that says what is wrong."""
    if not isinstance(record, dict):
        raise ValueError("it is no object")
    epoch, step = record.get("epoch"), record.get("step")
    if type(epoch) is not int or type(step) is not int:
        raise ValueError("its 'epoch' and 'step' must be whole numbers")
    if not 1 <= epoch <= step <= MOST_STEPS:
        raise ValueError("'epoch' must be at least 1, and 'step' at least that")
    return {name: _number(name, value) for name, value in record.items()}


def _number(name: str, value: Any) -> float:
    number = NOT_FINITE.get(value) if isinstance(value, str) else value
    if type(number) is not int and type(number) is not float:
        raise ValueError(f"{name!r:.60} is {shown(value)}, but must be a number")
    return number


def _line(record: Mapping[str, float]) -> str:
    """A record as a line of JSON; non-finite numbers become strings."""
    plain = {n: v if math.isfinite(v) else str(float(v)) for n, v in record.items()}
    return json.dumps(plain, allow_nan=False) + "\n"
