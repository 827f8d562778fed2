"""Do the commands work, and do they explain what went wrong?"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from apps import cli
from apps.captioning import commands, shapes
from apps.job import Job
from apps.run_folder import RunFolder
from minigrad.testing import strict  # noqa: F401  (registers its devices)
from tests.minigrad.fake_cupy import NO_GPU, FakeGpus, installed, two_gpus

# The same bits again are a CPU's alone: a GPU adds in whatever order it comes to.
EXACT = ["--device", "cpu"]
SMALL = ["--wordvec-dim", "8", "--hidden-dim", "16", "--epochs", "2"]


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.minigrad, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result


def losses(run: Path) -> list[tuple[int, float | None, float | None]]:
    """What a run's metrics say, but for its speed."""
    records = RunFolder(run).metrics()
    return [(r["step"], r.get("loss"), r.get("val_bleu")) for r in records]


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "trained"
    run("caption", "train", "--data", drawn, "--run", path, *SMALL, *EXACT)
    return path


def test_train_leaves_a_run(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    assert config["hidden_dim"] == 16
    assert config["cell"] == "lstm"
    records = RunFolder(trained).metrics()
    assert [r.get("epoch") for r in records] == [1, 2, 2]
    assert records[1]["loss"] < records[0]["loss"]
    assert 0 <= records[2]["val_bleu"] <= 1
    assert (trained / "checkpoint.h5").is_file()
    with Image.open(trained / "samples.png") as picture:
        assert picture.width > 500
    page = (trained / "report.html").read_text(encoding="utf-8")
    assert f"<dd>{records[2]['val_bleu']:.3f}</dd>" in page
    assert "finished on" in page
    assert page.count("<img") == 8 + 1


def test_sample_and_evaluate_read_the_run(trained: Path) -> None:
    before = (trained / "metrics.jsonl").read_bytes()
    arguments = [trained, "--count", 3, "--split", "train", *EXACT]
    sampled = run("caption", "sample", *arguments)
    assert sampled.output.count(".png") == 3 + 1
    again = run("caption", "sample", *arguments)
    assert again.output == sampled.output
    scored = run("caption", "evaluate", trained)
    assert scored.output.splitlines()[1].startswith("val")
    assert re.search(r"unigram BLEU *│ *0\.\d{3} *│ *0\.\d{3}", scored.output)
    assert "one caption for all" in scored.output
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_same_seed_same_run(trained: Path, drawn: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    run("caption", "train", "--data", drawn, "--run", again, *SMALL, *EXACT)
    assert losses(trained) == losses(tmp_path / "again")


def test_interrupted_training_says_how_to_go_on(
    drawn: Path, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Job.update

    def interrupted(job: Job, batch: object) -> tuple[float, int]:
        if job.step == 5:
            signal.raise_signal(signal.SIGINT)
        return update(job, batch)  # type: ignore[arg-type]

    path = tmp_path / "half"
    with monkeypatch.context() as patch:
        patch.setattr(Job, "update", interrupted)
        arguments = ["--data", drawn, "--run", path, *SMALL, *EXACT]
        output = run("caption", "train", *arguments, code=130).output
    assert f"caption train --resume {path}" in " ".join(output.split())
    assert "stopped on" in (path / "report.html").read_text(encoding="utf-8")
    # As if it had been killed later, after logging and before saving.
    RunFolder(path).log(epoch=2, step=8, loss=0.0)
    run("caption", "train", "--resume", path, *EXACT)
    assert losses(path) == losses(trained)


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = shapes.make
    monkeypatch.setattr(shapes, "make", lambda f, seed: make(f, seed, (12, 4)))
    monkeypatch.setattr(commands, "DEMO", {**commands.DEMO, "epochs": 1})
    monkeypatch.chdir(tmp_path)
    output = run("caption", "demo").output
    assert "epoch   1/1" in output
    assert "true caption" in output
    assert "unigram BLEU" in output
    (picture,) = tmp_path.glob("runs/caption-*/samples.png")
    assert "samples.png" in output
    assert picture.is_file()
    page = picture.with_name("report.html").read_text(encoding="utf-8")
    assert "of 4 unseen scenes" in page


def test_the_device_is_told(trained: Path) -> None:
    for name in ("cpu", "strict:1"):
        output = run("caption", "evaluate", trained, "--device", name).output
        assert f"device: {name} (as asked)\n" in output
    with installed(FakeGpus(error=NO_GPU)):
        output = run("caption", "sample", trained).output
    assert "device: cpu (no GPU: the NVIDIA driver shows no GPU)\n" in output


def test_a_run_changes_its_device(
    drawn: Path, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped on one device and resumed on another, it ends as if on the first."""
    update = Job.update
    devices = set()

    def watched(job: Job, batch: object) -> tuple[float, int]:
        devices.add(next(job.model.parameters()).device)
        if job.step in (3, 6):
            signal.raise_signal(signal.SIGINT)
        return update(job, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Job, "update", watched)
    path = tmp_path / "moved"
    arguments = ["--data", drawn, "--run", path, *SMALL]
    with installed(two_gpus()):
        output = run("caption", "train", *arguments, code=130).output
        assert "device: cuda:1 (GPU number 1, the most free memory of 2" in output
    run("caption", "train", "--resume", path, "--device", "strict:1", code=130)
    run("caption", "train", "--resume", path, "--device", "cpu")
    assert devices == {"cuda:1", "strict:1", "cpu"}
    assert losses(path) == losses(trained)
    assert "device" not in RunFolder(path).config()


@pytest.mark.parametrize("command", ["train", "sample", "evaluate", "demo"])
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "unknown device 'gpu'"),
        ("cuda", "the NVIDIA driver shows no GPU. Check nvidia-smi"),
    ],
)
def test_a_wrong_device_is_one_line_before_any_work(
    command: str,
    device: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    operands = ["nowhere"] if command in ("sample", "evaluate") else []
    with installed(FakeGpus(error=NO_GPU)):
        output = run("caption", command, *operands, "--device", device, code=2).output
    assert output.startswith("Error: ")
    assert message in output
    assert output.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "nowhere"], "nowhere is not a folder"),
        (["train", "--resume", "nowhere"], "config.json is missing"),
        (["sample", "nowhere"], "config.json is missing"),
        (["evaluate", "nowhere"], "config.json is missing"),
    ],
)
def test_mistakes_give_one_message(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run("caption", *arguments, code=1).output
    assert message in output
    assert output.startswith("Error: ")
    assert not list(tmp_path.iterdir())


def test_faulty_data_begins_no_run(copy: Path, tmp_path: Path) -> None:
    (copy / "coco2014_vocab.json").unlink()
    run("caption", "train", "--data", copy, "--run", tmp_path / "r", code=1)
    assert not (tmp_path / "r").exists()


def test_checkpoint_of_another_model_is_refused(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "checkpoint.h5"):
        (other / name).write_bytes((trained / name).read_bytes())
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "hidden_dim": 24}))
    output = run("caption", "sample", other, code=1).output
    assert "hidden_dim is 24, but was 16" in output


def test_missing_picture_gets_a_placeholder(trained: Path, copy: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    moved = trained.parent / "moved"
    moved.mkdir()
    (moved / "config.json").write_text(json.dumps({**config, "data": str(copy)}))
    for name in ("checkpoint.h5", "preparation.json"):
        (moved / name).write_bytes((trained / name).read_bytes())
    for picture in (copy / "images").glob("val*"):
        picture.write_text("not a picture")
    run("caption", "sample", moved)
    assert (moved / "samples.png").is_file()


def test_stranger_called_nn_is_noticed(tmp_path: Path) -> None:
    place = tmp_path / "a\x1b[31m"
    (place / "nn").mkdir(parents=True)
    (place / "nn" / "__init__.py").write_text("raise SystemExit('stranger ran')")
    code = (
        f"import sys; sys.path.insert(0, {str(cli.HOUSE)!r}); "
        f"sys.path.insert(0, {str(place)!r}); sys.argv = ['minigrad']; "
        "from apps.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "The package 'nn' that Python finds is" in result.stderr
    assert r"a\x1b[31m" in result.stderr
    assert "pip uninstall minigrad nn" in result.stderr


def test_a_fault_of_ours_is_told_through_the_filter() -> None:
    """Whatever its message quotes."""
    code = (
        "from apps import cli\n"
        "def fail(): raise ValueError('\\x1b[2J')\n"
        "cli.main(fail)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cli.HOUSE, capture_output=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.endswith(b"ValueError: \\x1b[2J\n")


@pytest.mark.parametrize("module", ["apps.cli", "apps.captioning"])
def test_help_without_installing(module: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=cli.HOUSE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage:" in result.stdout
