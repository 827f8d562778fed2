"""Is nothing lost when a disk refuses or a run's files are not what they were?"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import minigrad as mg
from apps import cli, run_checkpoint
from apps import run as runs
from apps.captioning import data, layout, train
from apps.run_folder import RunError, RunFolder
from minigrad.io import checkpoints
from tests.apps.jobs import CONFIG, make_job, outcome, quiet
from tests.edited import edited

SMALL = ["--wordvec-dim", "8", "--hidden-dim", "16", "--epochs", "1"]
SMALL += ["--device", "cpu"]


def refused(*arguments: object) -> str:
    """What a command says that fails: one message and nothing else on stderr."""
    result = CliRunner().invoke(cli.minigrad, ["caption", *map(str, arguments)])
    assert result.exit_code == 1, result.output
    # Anything else would be shown as a traceback.
    assert isinstance(result.exception, SystemExit)
    line = result.output.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    assert result.output.count("Error: ") == 1
    return line


def contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder, byte for byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# A disk that refuses


class Disk:
    """Counts what is done to files on their way to their names; refuses one of it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.refuse_at = 0
        self.error = errno.ENOSPC
        self.open, self.fsync, self.replace = io.open, os.fsync, os.replace
        patch.setattr(builtins, "open", self._open)
        patch.setattr(io, "open", self._open)
        patch.setattr(os, "fsync", self._fsync)
        patch.setattr(os, "replace", self._replace)

    def touch(self, what: str) -> None:
        self.done.append(what)
        if len(self.done) == self.refuse_at:
            raise OSError(self.error, os.strerror(self.error))

    def _open(self, path: Any, *args: Any, **options: Any) -> Any:
        if not str(path).endswith(".part"):
            return self.open(path, *args, **options)
        self.touch("open")
        return File(self, self.open(path, *args, **options))

    def _fsync(self, number: int) -> None:
        folder = stat.S_ISDIR(os.fstat(number).st_mode)
        self.touch("fsync folder" if folder else "fsync")
        self.fsync(number)

    def _replace(self, source: Any, target: Any) -> None:
        self.touch("replace")
        self.replace(source, target)


class File:
    """An open file on a disk that may refuse."""

    def __init__(self, disk: Disk, file: Any) -> None:
        self.disk, self.file = disk, file

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, content: Any) -> int:
        self.disk.touch("write")
        return self.file.write(content)

    def close(self) -> None:
        self.file.close()
        self.disk.touch("close")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


ONE_FILE = ["open", "write", "close", "open", "fsync", "close", "replace"]
OPERATIONS = [*ONE_FILE, "fsync folder"]


def test_how_a_file_is_written(tmp_path: Path, disk: Disk) -> None:
    """Its content is flushed before it gets its name, and the name afterwards."""
    mg.save_checkpoint(tmp_path / "c.h5")
    assert disk.done == OPERATIONS


@pytest.mark.parametrize("number", range(1, len(ONE_FILE) + 1))
def test_a_checkpoint_survives_every_failure_of_a_save(
    tmp_path: Path, disk: Disk, number: int
) -> None:
    job, run = make_job(), RunFolder.create(tmp_path / "run", CONFIG)
    runs.train(job, run, quiet())
    before, expected = contents(run.path), outcome(job, run)
    next(job.model.parameters()).data += 1
    disk.done, disk.refuse_at = [], number
    with pytest.raises(RunError, match="No space left on device"):
        run_checkpoint.save(job, run)
    assert len(disk.done) >= number
    assert contents(run.path) == before  # and no unfinished file
    again = make_job()
    run_checkpoint.restore(again, run)
    assert outcome(again, run) == expected


@pytest.mark.parametrize("number", range(1, len(ONE_FILE) + 1))
def test_a_save_that_fails_lets_go_of_its_image(
    tmp_path: Path, disk: Disk, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error's traceback would keep a view of it, and it could not be freed."""
    images, make = [], checkpoints._image

    def noted(*args: Any) -> io.BytesIO:
        images.append(make(*args))
        return images[-1]

    monkeypatch.setattr(checkpoints, "_image", noted)
    disk.done, disk.refuse_at = [], number
    with pytest.raises(OSError, match="No space left") as raised:
        mg.save_checkpoint(tmp_path / "c.h5")
    (image,) = images
    image.close()  # a BufferError, if there were a view
    assert raised.value.__traceback__ is not None


def test_a_folder_that_cannot_be_flushed_is_no_failure(
    tmp_path: Path, disk: Disk
) -> None:
    disk.refuse_at = len(OPERATIONS)
    mg.save_checkpoint(tmp_path / "c.h5", step=3)
    assert mg.load_checkpoint(tmp_path / "c.h5").step == 3


def test_training_that_a_disk_stops_anywhere_goes_on(
    tmp_path: Path, disk: Disk
) -> None:
    """Refuse the first operation of a whole training, then the second, and so on."""
    job, run = make_job(), RunFolder.create(tmp_path / "whole", CONFIG)
    disk.done = []
    runs.train(job, run, quiet())
    expected = outcome(job, run)
    operations = disk.done
    assert operations == 6 * OPERATIONS  # three lines and three checkpoints
    for number in range(1, len(operations) + 1):
        run = RunFolder.create(tmp_path / str(number), CONFIG)
        disk.done, disk.refuse_at = [], number
        with may_fail(operations[number - 1], run):
            runs.train(make_job(), run, quiet())
        disk.refuse_at = 0
        assert not list(run.path.glob(".*.part"))
        again = make_job()
        runs.train(again, run, quiet(), resume=True)
        assert outcome(again, run) == expected


@contextmanager
def may_fail(operation: str, run: RunFolder) -> Iterator[None]:
    if operation == "fsync folder":
        yield
        return
    with pytest.raises(RunError) as raised:
        yield
    message = str(raised.value)
    assert "could not be written: No space left on device" in message
    assert f"free space, then go on by --resume {run.path}" in message


def test_another_failure_than_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    run = RunFolder.create(tmp_path, CONFIG)
    disk.done, disk.refuse_at, disk.error = [], 1, errno.EACCES
    with pytest.raises(RunError, match="look after the disk and its permissions"):
        run_checkpoint.save(make_job(), run)


def test_a_run_that_cannot_begin(tmp_path: Path, disk: Disk) -> None:
    disk.refuse_at = 2
    with pytest.raises(RunError, match=r"no run can begin in .*: No space left"):
        RunFolder.create(tmp_path / "run", CONFIG)
    disk.refuse_at = 0
    RunFolder.create(tmp_path / "run", CONFIG)


def test_a_file_where_the_folder_should_be(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    run = tmp_path / "file" / "run"
    message = refused("train", "--data", drawn, "--run", run, *SMALL)
    assert "Not a directory. Choose another folder by --run" in message


def test_a_picture_for_which_there_is_no_room(damaged: Path, disk: Disk) -> None:
    disk.refuse_at = 1
    before = contents(damaged)
    message = refused("sample", damaged, "--device", "cpu")
    assert "No space left on device. Free space, then try again." in message
    assert contents(damaged) == before


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), -1))
from apps.cli import minigrad
minigrad()
"""


def test_a_system_that_refuses_large_files(drawn: Path, tmp_path: Path) -> None:
    """The real thing: not a byte beyond the first 20,000 can be written to a file."""
    run = tmp_path / "run"
    command = [sys.executable, "-c", LIMITED, "20000", "caption", "train"]
    result = subprocess.run(
        [*command, "--data", str(drawn), "--run", str(run), *SMALL],
        cwd=cli.HOUSE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {run / 'checkpoint.h5'} could not be")
    assert "File too large" in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(contents(run)) == [
        *(".lock", "config.json", "metrics.jsonl", "preparation.json", "report.html")
    ]


# Runs that are not what they were


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "trained"
    arguments = ["caption", "train", "--data", drawn, "--run", path, *SMALL]
    result = CliRunner().invoke(cli.minigrad, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture
def damaged(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run, into which a test puts a fault."""
    return Path(shutil.copytree(trained, tmp_path / "damaged"))


GONE = object()


def change(**settings: Any) -> Callable[[Path], None]:
    """Edit a run's settings; GONE takes one out."""

    def edit(run: Path) -> None:
        path = run / "config.json"
        config = {**json.loads(path.read_text()), **settings}
        kept = {name: value for name, value in config.items() if value is not GONE}
        path.write_text(json.dumps(kept))

    return edit


def write_config(text: str) -> Callable[[Path], object]:
    return lambda run: (run / "config.json").write_text(text)


def cut_checkpoint(share: float) -> Callable[[Path], object]:
    def cut(run: Path) -> None:
        path = run / "checkpoint.h5"
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return cut


def change_header(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Edit the plain data of a run's checkpoint."""

    def apply(run: Path) -> None:
        with edited(run / "checkpoint.h5") as file:
            header = json.loads(file.attrs["header"])
            edit(header)
            file.attrs["header"] = json.dumps(header)

    return apply


def plain_checkpoint(run: Path) -> None:
    """A file of `save_checkpoint` that no training wrote."""
    config = json.loads((run / "config.json").read_text())
    mg.save_checkpoint(run / "checkpoint.h5", config=config)


def other_weights(run: Path) -> None:
    with edited(run / "checkpoint.h5") as file:
        name = next(iter(file["model"]))
        key = file["model"][name].attrs["key"]
        del file["model"][name]
        file["model"][name] = np.ones(3)
        file["model"][name].attrs["key"] = key


NO_SETTINGS = "does not hold the settings of a run"
NO_JSON = "config.json' cannot be read as JSON"
NO_CHECKPOINT = "cannot be read as a complete minigrad checkpoint"
OTHER = "config.json is not what checkpoint.h5 was trained with"
NOT_OURS = "is no checkpoint of this run's training"
RUN_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda r: (r / "config.json").unlink(), "config.json is missing"),
    "empty config": (write_config(""), NO_JSON),
    "cut config": (write_config('{"data": "/da'), NO_JSON),
    "config of bytes": (
        lambda r: (r / "config.json").write_bytes(b"\xff\xfe"),
        NO_JSON,
    ),
    "deep config": (write_config("[" * 100_000), NO_JSON),
    "config of a list": (write_config("[]"), "holds no settings, but []"),
    "unknown setting": (change(hiden_dim=8), f"{NO_SETTINGS}: 'hiden_dim' is unknown"),
    "missing setting": (change(lr=GONE), f"{NO_SETTINGS}: 'lr' is missing"),
    "words for a number": (
        change(hidden_dim="16"),
        f"{NO_SETTINGS}: hidden_dim is '16', but must be a whole number",
    ),
    "a fraction of a batch": (
        change(batch=1.5),
        "batch is 1.5, but must be a whole number",
    ),
    "truth for a number": (
        change(epochs=True),
        "epochs is True, but must be a whole number",
    ),
    "a list of ways": (
        change(decoding=[]),
        "decoding is [], but must be settings in braces",
    ),
    "no epochs": (change(epochs=None), "epochs is None, but must be a whole number"),
    "another width": (change(features="wide"), "must be one of 'pca', 'full'"),
    "a number without end": (
        write_config(f'{{"epochs": 1{"0" * 5000}}}'),
        "a number in it has thousands of digits",
    ),
    "a number too large": (change(epochs=10**400), "epochs is 1000"),
    "no number": (change(lr=float("nan")), "lr is nan, but must be a number above 0"),
    "a name that is none": (change(data="a\0b"), "must be a text that can name a file"),
    "half a letter": (change(data="\ud800"), "must be a text that can name a file"),
    "a name without end": (change(data="x" * 2**20), "it has more than 1.0 MB"),
    "many letters": (change(cell="x" * 10**5), "xxx..., but must be one of"),
    "no width": (
        change(hidden_dim=0),
        "hidden_dim is 0, but must be a whole number from 1 to 1,000,000,000",
    ),
    "no batch": (change(batch=0), "batch is 0, but must be a whole number from 1"),
    "unknown cell": (
        change(cell="mlp"),
        "cell is 'mlp', but must be one of 'rnn'",
    ),
    "too much dropout": (
        change(dropout=1),
        "dropout is 1, but must be a number from 0 to below 1",
    ),
    "no learning": (change(lr=0), "lr is 0, but must be a number above 0"),
    "negative seed": (change(seed=-1), "seed is -1, but must be a whole number from 0"),
    "data gone": (
        change(data="/nowhere"),
        "is not there any more. If it was moved, say where it is now by --data",
    ),
    "other width": (change(hidden_dim=24), f"{OTHER}: hidden_dim is 24, but was 16"),
    "other cell": (change(cell="gru"), f"{OTHER}: cell is 'gru', but was 'lstm'"),
    "other rate": (change(lr=0.5), f"{OTHER}: lr is 0.5, but was 0.002"),
    "no checkpoint but lines": (
        lambda r: (r / "checkpoint.h5").unlink(),
        "checkpoint.h5 is missing",
    ),
    "empty checkpoint": (cut_checkpoint(0), NO_CHECKPOINT),
    "half a checkpoint": (cut_checkpoint(0.5), NO_CHECKPOINT),
    "nearly all of it": (cut_checkpoint(0.99), NO_CHECKPOINT),
    "a checkpoint of text": (
        lambda r: (r / "checkpoint.h5").write_text("hello"),
        NO_CHECKPOINT,
    ),
    "no training's": (plain_checkpoint, f"{NOT_OURS}: it lacks 'schedule'"),
    "no loss": (change_header(lambda h: h["extra"].pop("epoch_loss")), NOT_OURS),
    "no generator": (change_header(lambda h: h.update(generator=None)), NOT_OURS),
    "another generator": (
        change_header(lambda h: h.update(generator={"bit_generator": "MT19937"})),
        NOT_OURS,
    ),
    "schedule of text": (
        change_header(lambda h: h["extra"].update(schedule="x")),
        NOT_OURS,
    ),
    "a step too far": (change_header(lambda h: h.update(step=999)), "step 999 of 4"),
    "no step": (change_header(lambda h: h.pop("step")), NO_CHECKPOINT),
    "half a step": (change_header(lambda h: h.update(step=1.5)), "step 1.5 of 4"),
    "other weights": (other_weights, "misshapen"),
}


@pytest.mark.parametrize("fault", RUN_FAULTS)
def test_a_faulty_run_gives_one_clear_error(damaged: Path, fault: str) -> None:
    inject, message = RUN_FAULTS[fault]
    inject(damaged)
    before = contents(damaged)
    device = ("--device", "cpu")
    assert message in refused("train", "--resume", damaged, *device)
    assert contents(damaged) == before
    assert message in refused("sample", damaged, *device)
    assert contents(damaged) == before


def test_settings_that_fit_are_read(damaged: Path) -> None:
    """A whole number is a learning rate too."""
    change(lr=1)(damaged)
    settings = RunFolder.open(damaged).settings(train.Settings)
    assert settings.lr == 1
    assert settings.hidden_dim == 16


# Data that are not what they were


def swap_words(folder: Path) -> None:
    """As many words as before, but two of them change places."""
    path = folder / layout.VOCABULARY_FILE
    words = json.loads(path.read_text())["idx_to_word"]
    words[-1], words[-2] = words[-2], words[-1]
    ids = {word: index for index, word in enumerate(words)}
    path.write_text(json.dumps({"idx_to_word": words, "word_to_idx": ids}))


def change_caption(folder: Path) -> None:
    with h5py.File(folder / layout.CAPTIONS_FILE, "r+") as file:
        captions = file["train_captions"]
        captions[0, 1] = captions[0, 1] % 5 + 4


@pytest.mark.parametrize("fault", [swap_words, change_caption])
def test_other_words_or_captions_are_noticed(
    damaged: Path, copy: Path, fault: Callable[[Path], None]
) -> None:
    change(data=str(copy))(damaged)
    CliRunner().invoke(cli.minigrad, ["caption", "evaluate", str(damaged)])
    fault(copy)
    for command in (["train", "--resume"], ["sample"], ["evaluate"]):
        message = refused(*command, damaged, "--device", "cpu")
        assert f"the data in {copy} are not those" in message


def test_data_may_move(damaged: Path, copy: Path) -> None:
    change(data=str(copy))(damaged)
    arguments = ["caption", "evaluate", str(damaged), "--device", "cpu"]
    assert CliRunner().invoke(cli.minigrad, arguments).exit_code == 0


def set_nan(folder: Path) -> None:
    with h5py.File(folder / layout.features_file("train"), "r+") as file:
        file["features"][7, 3] = np.nan


def cut_features(folder: Path) -> None:
    path = folder / layout.features_file("val")
    path.write_bytes(path.read_bytes()[:2000])


def far_word(folder: Path) -> None:
    with h5py.File(folder / layout.CAPTIONS_FILE, "r+") as file:
        file["val_captions"][2, 3] = 999


DATA_FAULTS = {
    "not a number": (set_nan, "row 7 of 'features' holds NaN or infinity"),
    "cut short": (cut_features, "truncated file"),
    "a word too far": (far_word, "row 2 of 'val_captions' has the word id 999"),
}


@pytest.mark.parametrize("fault", DATA_FAULTS)
def test_faulty_data_stop_a_command_before_anything_is_written(
    damaged: Path, copy: Path, tmp_path: Path, fault: str
) -> None:
    """Each fault of the data is tested in test_data.py; here, that commands tell it."""
    inject, message = DATA_FAULTS[fault]
    inject(copy)
    assert message in refused("train", "--data", copy, "--run", tmp_path / "r", *SMALL)
    assert not (tmp_path / "r").exists()
    change(data=str(copy))(damaged)
    before = contents(damaged)
    for command in (["train", "--resume"], ["sample"], ["evaluate"]):
        assert message in refused(*command, damaged, "--device", "cpu")
    assert contents(damaged) == before


def test_data_that_fail_amid_training_keep_what_was_saved(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, reads, read = tmp_path / "run", itertools.count(1), data.Split._read

    def fails(split: data.Split, rows: Any) -> np.ndarray:
        if isinstance(rows, np.ndarray) and next(reads) == 6:
            raise layout.DataError("the disk is gone")
        return read(split, rows)

    arguments = ["--data", drawn, "--run", run, *SMALL, "--epochs", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(data.Split, "_read", fails)
        assert "the disk is gone" in refused("train", *arguments)
    assert mg.load_checkpoint(run / "checkpoint.h5").step == 4
    again = ["caption", "train", "--resume", str(run), "--device", "cpu"]
    assert CliRunner().invoke(cli.minigrad, again).exit_code == 0
