"""Do the commands of `minigrad look` work, and do they explain what went wrong?"""

from __future__ import annotations

import importlib.metadata
import io
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import ExifTags, Image
from rich.console import Console

import nn
from apps import cli
from apps.image_gradients import fool, gallery, gradients, looking, saliency
from apps.image_gradients.gradients import device_of
from apps.image_gradients.pictures import read
from apps.image_gradients.squeezenet import SqueezeNet
from minigrad.testing import strict  # noqa: F401  (registers its devices)
from tests.apps.look_data import guessing, noise, watched_pictures
from tests.apps.test_report import Page

COMMANDS = ("classify", "saliency", "fool", "visualize", "download")
SHORT = ["--iterations", "4", "--ending", "1"]


def run(*arguments: object, code: int = 0) -> Result:
    line = ["look", *map(str, arguments)]
    result = CliRunner().invoke(cli.minigrad, line, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "guessing.npz"
    np.savez(path, **nn.torch_state_dict(guessing()))
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "stripes.png"
    Image.fromarray(noise(1, side=64)[0]).save(path)
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "few.npz"
    np.savez(path, X=noise(2, side=224), y=np.array([281, 967]))
    return path


Look = Callable[..., str]


@pytest.fixture
def look(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Give a command in an empty folder, with weights; its output."""
    monkeypatch.chdir(tmp_path)

    def given(*arguments: object, code: int = 0) -> str:
        options = ["--weights", weights, "--device", "cpu"]
        return run(*arguments, *options, code=code).output

    return given


def page(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def seen(output: str) -> list[str]:
    """The classes in a table of one picture, the likeliest first."""
    return [line.split("│")[2].strip() for line in output.splitlines() if "│" in line]


# -- what they do ------------------------------------------------------------------


def test_classify_says_the_five_likeliest(look: Look, image: Path) -> None:
    output = look("classify", "--image", image)
    assert "stripes" in output
    assert output.count("%") == 5
    assert "enlarged from 64 x 64" in output
    assert "weights: the weights in " in output
    assert "device: cpu (as asked)\n" in output


def test_saliency_draws_what_was_asked(
    look: Look, labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "maps"
    arguments = ["--image", labelled, "--method", "grad-cam", "--method", "gradient"]
    output = look("saliency", *arguments, "--out", out)
    assert f"Figures are in {out}" in output
    assert output.index("gradient ...") < output.index("grad-cam ...")
    assert "integrated ..." not in output
    assert sorted(path.name for path in out.iterdir()) == [
        "index.html",
        "saliency-1.png",
    ]
    # A picture's own class is asked for, where it is known.
    alt = page(out).all("img")[0]["alt"] or ""
    assert "tabby" in alt
    assert "espresso" in alt


def test_saliency_checks_and_adds_up(
    look: Look, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: saliency.CHECKED[name] for name in ("gradient", "edges, no network")}
    monkeypatch.setattr(saliency, "CHECKED", few)
    arguments = ["--image", image, "--class", "goldfish", "--method", "integrated"]
    output = look("saliency", *arguments, "--check", "--out", tmp_path / "out")
    assert output.count("check: weights are random from ") == 10
    assert (tmp_path / "out/sanity.png").is_file()
    found = page(tmp_path / "out")
    assert "Do attributions add up?" in found.text("h2")
    assert "goldfish" in found.text("td")
    assert "edges, no network: 1.00 at the end" in (found.all("img")[1]["alt"] or "")


@pytest.mark.parametrize("options", [["--steps", "40"], ["--smallest"]])
def test_fool_saves_what_fools(
    look: Look, image: Path, tmp_path: Path, options: list[str]
) -> None:
    second = seen(look("classify", "--image", image))[1]
    out = tmp_path / "out"
    output = look("fool", "--image", image, "--target", second, *options, "--out", out)
    assert f"-> {second} " in output
    assert "1 of 1 fool the network when they are read back" in output
    assert seen(look("classify", "--image", out / "01-stripes.png"))[0] == second
    assert page(out).text("td")[0] == second


def test_fool_says_when_it_did_not_help(
    look: Look, image: Path, tmp_path: Path
) -> None:
    arguments = ["--steps", "1", "--rate", "0.001", "--out", tmp_path / "out"]
    output = look("fool", "--image", image, *arguments)
    assert "0 of 1 fool the network" in output
    assert "not fooled" in page(tmp_path / "out").text("td")


def test_the_smallest_change_counts_all_its_steps(
    look: Look, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {}
    steps = looking.steps

    def watched(console: Console, what: str, count: int | None) -> Any:
        counts[what] = count
        return steps(console, what, count)

    monkeypatch.setattr(looking, "steps", watched)
    first = seen(look("classify", "--image", image))[0]
    look("fool", "--image", image, "--target", first, "--smallest", "--out", "out")
    assert counts == {"reading": None, "fooling": fool.TRIES * fool.LEVELS}


# -- many pictures -----------------------------------------------------------------


@pytest.fixture
def five(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures, of which two stand on a page, and one is looked into."""
    monkeypatch.setattr(gallery, "ON_PAGE", 2)
    monkeypatch.setattr(looking, "ON_PAGE", 2)
    monkeypatch.setattr(gradients, "AT_ONCE", 1)
    folder = tmp_path / "five"
    folder.mkdir()
    for number, pixels in enumerate(noise(5, side=32), start=1):
        Image.fromarray(pixels).save(folder / f"p{number:02}.png")
    return folder


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures are alive, each time that one is read."""
    return watched_pictures(monkeypatch)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures the network looked at, each time."""
    sizes = []
    forward = SqueezeNet.forward

    def watched(network: SqueezeNet, x: Any) -> Any:
        sizes.append(x.shape[0])
        return forward(network, x)

    monkeypatch.setattr(SqueezeNet, "forward", watched)
    return sizes


FEW: dict[str, list[str]] = {
    "classify": [],
    "saliency": ["--check"],
    "fool": ["--steps", "1"],
    "fool --smallest": ["--smallest"],
}


@pytest.mark.parametrize("command", FEW)
def test_memory_does_not_grow_with_pictures(
    look: Look,
    five: Path,
    alive: list[int],
    batches: list[int],
    command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = partial(fool.smallest_change, tries=1, most=1)
    monkeypatch.setattr(fool, "smallest_change", few)
    monkeypatch.setattr(saliency, "CHECKED", {"gradient": saliency.gradient_map})
    once = partial(saliency.smooth_grad, copies=1)
    monkeypatch.setattr(saliency, "smooth_grad", once)

    def quick(network: SqueezeNet, x: Any, classes: Any) -> saliency.Attribution:
        g = saliency.gradient_map(network, x, classes)[:, None]
        return saliency.Attribution(g, np.zeros(len(x)), 16)

    monkeypatch.setattr(saliency, "integrated_gradients", quick)
    randomized = saliency.randomized
    monkeypatch.setattr(
        saliency, "randomized", lambda *given: islice(randomized(*given), 1)
    )
    out = [] if command == "classify" else ["--out", "out"]
    verb = command.split()[0]
    output = look(verb, "--image", five, *FEW[command], *out)
    assert len(alive) >= 10  # each is read twice: to check it, and to look into it
    # A page, and one that is being read; `fool` reads what it has saved besides.
    assert max(alive) <= 4
    assert max(batches) == 1
    for number in range(1, 6):
        assert f"p{number:02}" in output
    if out:
        pages = sorted(path.name for path in Path("out").glob("*.html"))
        assert pages == ["index-2.html", "index-3.html", "index.html"]


def test_targets_do_not_depend_on_pages() -> None:
    labels = np.arange(12)
    whole = fool.other_classes(labels, 1000, 7)
    random = np.random.default_rng(7)
    parts = [fool.other_classes(labels[i : i + 3], 1000, random) for i in (0, 3, 6, 9)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_all_pictures_are_counted_at_the_end(look: Look, five: Path) -> None:
    arguments = ["--steps", "1", "--rate", "0.001", "--out", "out"]
    output = look("fool", "--image", five, *arguments)
    assert "0 of 5 fool the network when they are read back" in output
    names = sorted(path.name for path in Path("out").glob("*p??.png"))
    assert names == [f"{number:02}-p{number:02}.png" for number in range(1, 6)]


# -- names that are hard to show ---------------------------------------------------


@pytest.mark.parametrize("command", ["classify", "saliency", "fool"])
def test_any_name_is_survived(look: Look, command: str) -> None:
    place = Path(os.fsdecode(b"caf\xe9 \x1b[31m"))
    try:
        place.mkdir()
        for name in (b"\xff\x1b]0;me\x07.png", "猫 & <b>$.png".encode(), b"a\nb.png"):
            Image.fromarray(noise(1, side=64)[0]).save(place / os.fsdecode(name))
    except OSError:
        pytest.skip("this system has no such file names")
    options: dict[str, list[Any]] = {
        "classify": [],
        "saliency": ["--method", "gradient", "--out", place / "out"],
        "fool": ["--steps", "1", "--out", place / "out"],
    }
    output = look(command, "--image", place, *options[command])
    assert "猫 & <b>$" in output
    assert "\x1b" not in output
    output.encode("utf-8")
    if options[command]:
        found = page(place / "out")
        assert "猫 & <b>$" in found.text("th")
        assert not found.all("b")


def test_each_picture_that_cannot_be_used_has_its_line(look: Look) -> None:
    output = look("classify", "--image", "a\nb.png", "--image", "c.png", code=1)
    first, *others = output.rstrip().split("\n")
    assert first == "Error: 2 of the pictures cannot be used:"
    assert len(others) == 2
    assert "a\\nb.png. Check its name" in others[0]


def test_the_folder_is_made_before_any_work(
    look: Look, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saliency, "METHODS", {})  # which would fail
    (tmp_path / "file").touch()
    output = look("saliency", "--image", image, "--out", tmp_path / "file", code=1)
    assert output.rstrip().split("\n")[-1].startswith("Error: ")
    assert "gradient ..." not in output


def test_what_was_left_of_an_earlier_page_is_cleared(
    look: Look, image: Path, tmp_path: Path
) -> None:
    left = tmp_path / "out" / ".index.html.0123456789abcdef.part"
    left.parent.mkdir()
    left.touch()
    look("saliency", "--image", image, "--method", "gradient", "--out", left.parent)
    assert not left.exists()


def test_no_warning_of_others_comes_between(
    weights: Path, image: Path, tmp_path: Path
) -> None:
    """An odd file, and a name that no font has, in a process of its own."""
    name = tmp_path / "猫.tiff"
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = "x" * 1000
    file = io.BytesIO()
    Image.open(image).save(file, format="TIFF", exif=exif)
    content = file.getvalue()
    name.write_bytes(content.replace(b"x" * 1000, b"") + b"x" * 10)
    line = ["saliency", "--image", name, "--weights", weights, "--device", "cpu"]
    line += ["--method", "gradient", "--out", tmp_path / "out"]
    found = subprocess.run(
        [sys.executable, "-m", "apps.image_gradients", *map(str, line)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert "Warning" not in found.stdout + found.stderr
    assert ".py" not in found.stdout + found.stderr


def test_visualize_draws_classes(look: Look, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--class", "tick", "--class", "683", "--rate", "3.5", "--seed", "7"]
    output = look("visualize", *arguments, *SHORT, "--out", out)
    assert sorted(path.name for path in out.iterdir()) == [
        "01-tick.png",
        "02-oboe.png",
        "classes.png",
        "index.html",
        "stages.png",
    ]
    assert output.count("% sure, of what was saved") == 2
    assert read(out / "01-tick.png").notes == ()
    told = dict(zip(page(out).text("th")[2:], page(out).text("td"), strict=True))
    assert told["rate"] == "3.5"
    assert told["seed"] == "7"
    assert told["l2"] == "0.001"


def test_a_recipe_is_changed_where_told(look: Look, tmp_path: Path) -> None:
    arguments = ["--recipe", "vivid", "--class", "tick", "--iterations", "1"]
    look("visualize", *arguments, "--out", tmp_path / "out")
    found = page(tmp_path / "out")
    told = dict(zip(found.text("th")[2:], found.text("td"), strict=True))
    assert told["iterations"] == "1"
    assert told["smooth"] == "2.0"


def test_a_seed_draws_another_picture(look: Look, tmp_path: Path) -> None:
    for seed in (1, 2):
        arguments = ["--class", "tick", "--seed", seed, "--iterations", 1]
        look("visualize", *arguments, "--out", tmp_path / f"{seed}")
    one, other = (read(tmp_path / f"{seed}/01-tick.png").pixels for seed in (1, 2))
    assert (one != other).mean() > 0.5


def test_results_go_into_a_folder_of_their_own(
    look: Look, image: Path, tmp_path: Path
) -> None:
    look("saliency", "--image", image, "--method", "gradient")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("look-saliency-")


def test_the_device_is_heeded(
    weights: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []

    def watched(network: SqueezeNet, *given: np.ndarray) -> np.ndarray:
        devices.append(device_of(network))
        return saliency.grad_cam(network, *given)

    monkeypatch.setitem(saliency.METHODS, "grad-cam", watched)
    arguments = ["--image", image, "--weights", weights, "--out", tmp_path]
    arguments += ["--method", "grad-cam", "--device", "strict:1"]
    assert "device: strict:1 (as asked)" in run("saliency", *arguments).output
    assert devices == ["strict:1"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_for(command: str) -> None:
    output = run(command, "--help").output
    assert output.startswith(f"Usage: minigrad look {command} ")
    assert command in run("--help").output


# -- mistakes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["saliency", "--class"], ["fool", "--target"], ["visualize", "--class"]]
)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("goldfis", "Did you mean goldfish (1)"),
        ("crane", "stands for several classes"),
        ("1000", "ids go from 0 to 999"),
    ],
)
def test_an_unknown_class_is_explained(
    look: Look, command: list[str], name: str, message: str, tmp_path: Path
) -> None:
    output = look(*command, name, code=1)
    assert output.startswith("Error: ")
    assert message in output
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("command", ["classify", "saliency", "fool"])
def test_what_is_no_picture_is_explained(
    look: Look, command: str, tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    output = look(command, "--image", text, code=1)
    assert output.startswith(f"Error: {text} is none of the pictures that can be read")
    assert look(command, "--image", "nowhere.png", code=1).startswith("Error: there is")
    assert [*tmp_path.iterdir()] == [text]


@pytest.mark.parametrize(
    "other", [["--rate", "2"], ["--steps", "5"], ["--aim", "score"]]
)
def test_the_smallest_change_heeds_no_rate(look: Look, other: list[str]) -> None:
    output = look("fool", "--smallest", *other, code=2)
    assert f"{other[0]} has no effect with --smallest" in output


@pytest.mark.parametrize("command", ["classify", "saliency", "fool", "visualize"])
def test_missing_weights_say_where_they_are(
    command: str, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> None:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("apps.image_gradients.weights.distribution", missing)
    pictures = [] if command == "visualize" else ["--image", image]
    output = run(command, *pictures, "--device", "cpu", code=1).output
    assert "No weights are in" in output
    assert "minigrad look download" in output
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["fool", "--rate", "nan"],
        ["fool", "--rate", "1e300"],
        ["fool", "--rate", "0"],
        ["fool", "--steps", "0"],
        ["visualize", "--blur", "nan"],
        ["visualize", "--rate", "inf"],
        ["visualize", "--l2", "1e300"],
        ["visualize", "--shrink", "2"],
        ["saliency", "--method", "guess"],
    ],
)
def test_settings_that_lead_nowhere_are_refused(
    look: Look, arguments: list[str]
) -> None:
    output = look(*arguments, code=2)
    assert f"Invalid value for '{arguments[1]}'" in output


def test_the_longest_steps_allowed_are_survived(
    look: Look, image: Path, tmp_path: Path
) -> None:
    arguments = ["--rate", "10000", "--steps", "3", "--out", tmp_path / "a"]
    look("fool", "--image", image, *arguments)
    arguments = ["--rate", "10000", "--l2", "1000", "--out", tmp_path / "b"]
    look("visualize", "--class", "1", *SHORT, *arguments)
