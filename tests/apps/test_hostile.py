"""Can data with escape sequences in it do anything to a terminal, by any command?

One hostile set is given to all commands: words, sentences, names, addresses, options
and answers of servers that colour, clear, retitle, turn around, hide, are markup or a
formula, or are not UTF-8. Every command must end in a result or in one message, on a
terminal and on one that has ASCII alone.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import nn
from apps import cli
from apps.captioning import commands as captioning
from apps.captioning import shapes
from apps.cola.data import TRAIN_FILE, VALIDATION_FILE
from apps.console import Group
from tests.apps.look_data import guessing, noise
from tests.apps.test_printable import OWN, leaks

# The codes are such as rich never writes, so that they are known wherever they come.
HOSTILE = (
    "\x1b]0;owned\x07",
    "\x1b[38;5;201m[red]\x9b2J",
    "[link=http://h]x[/link]:dog:",
    "$\\frac$ {0} %s",
    "\u202egnp.\u2066\u200b\ufeff",
    "字é\x7f\r\x08",
)
EVERY = "".join(HOSTILE)
NAME = EVERY.replace("/", "_") + "\udce9"  # of a file: no slash, and no UTF-8
SMALL = ("--epochs", "1", "--batch", "16", "--device", "cpu")
CAPTIONER = (*SMALL, "--wordvec-dim", "8", "--hidden-dim", "8")
JUDGE = (*SMALL, "--embed-dim", "8", "--num-heads", "1", "--hidden-dim", "8")


@dataclass(frozen=True)
class World:
    """Where hostile data and what was trained on them are; `fresh` is new each time."""

    here: Path
    fresh: Path
    shapes: Path
    corpus: Path
    picture: Path
    weights: Path
    captioner: Path
    judge: Path


Line = tuple[object, ...]


def looking(world: World) -> Line:
    weights = ("--weights", world.weights, "--device", "cpu")
    return ("--image", world.picture, *weights)


# What each command is tried with: where it can, once well, then with a mistake.
LINES: dict[str, Callable[[World], list[Line]]] = {
    "doctor": lambda w: [(EVERY,)],
    "caption train": lambda w: [
        ("--data", w.shapes, "--run", w.fresh, *CAPTIONER),
        ("--data", w.fresh / NAME),
        ("--resume", w.fresh / NAME),
        ("--resume", w.captioner, "--device", "cpu"),
    ],
    "caption sample": lambda w: [
        (w.captioner, "--device", "cpu", "--split", split) for split in ("train", EVERY)
    ],
    "caption evaluate": lambda w: [(w.captioner,), (w.fresh / NAME,)],
    "caption demo": lambda w: [("--run", w.fresh), ("--run", w.captioner)],
    "caption data show": lambda w: [(w.shapes, "--to", w.fresh), (w.fresh / NAME,)],
    "caption data info": lambda w: [(w.shapes,), (w.fresh / NAME,)],
    "caption data download": lambda w: [(w.fresh / NAME,)],
    "caption data make-shapes": lambda w: [
        (w.fresh / NAME, "--train", 2, "--val", 1),
        (w.shapes,),
    ],
    "cola train": lambda w: [
        ("--data", w.corpus, "--run", w.fresh, "--recipe", "transformer", *JUDGE),
        ("--data", w.fresh / NAME),
        ("--resume", w.judge, "--device", "cpu"),
    ],
    "cola evaluate": lambda w: [(w.judge,), (w.judge, "--split", EVERY)],
    "cola judge": lambda w: [
        ("a\nb" + EVERY + "\udce9", "--run", w.judge),
        (EVERY, "--run", w.fresh / NAME),
    ],
    "cola data show": lambda w: [(w.corpus,), (w.corpus, "--source", EVERY)],
    "cola data info": lambda w: [(w.corpus,), (w.picture,)],
    "cola data download": lambda w: [(w.fresh / NAME,)],
    "cola data make": lambda w: [
        (w.fresh / NAME, "--train", 8, "--val", 8),
        (w.corpus,),
    ],
    "look classify": lambda w: [looking(w), ("--image", w.corpus, *looking(w))],
    "look saliency": lambda w: [
        (*looking(w), "--method", "gradient", "--out", w.fresh),
        (*looking(w), "--class", EVERY),
    ],
    "look fool": lambda w: [
        (*looking(w), "--steps", 1, "--out", w.fresh),
        (*looking(w), "--target", EVERY),
    ],
    "look visualize": lambda w: [
        (*looking(w)[2:], "--iterations", 2, "--ending", 0, "--out", w.fresh),
        ("--weights", w.picture),
    ],
    "look download": lambda w: [(w.fresh / NAME,)],
}


def commands(group: click.Group, name: str = "") -> Iterator[str]:
    """The names of all commands below a group."""
    for word, command in group.commands.items():
        full = f"{name} {word}".strip()
        if isinstance(command, click.Group):
            yield from commands(command, full)
        else:
            yield full


def test_every_command_is_tried() -> None:
    assert sorted(commands(cli.minigrad)) == sorted(LINES), (
        "a command is tried with no hostile data: give it lines in LINES"
    )


GROUPS = [c for c in cli.minigrad.commands.values() if isinstance(c, click.Group)]


@pytest.mark.parametrize("group", [cli.minigrad, *GROUPS])
def test_every_group_that_is_run_alone_is_filtered(group: click.Group) -> None:
    """As `python -m apps.cola` does."""
    assert isinstance(group, Group)
    result = CliRunner().invoke(group, ["\x9b2J"])
    assert result.exit_code == 2
    assert leaks(result.output) == []


def hostile_shapes(folder: Path) -> None:
    """Draw a set, and make its words, names and addresses hostile."""
    shapes.make(folder, seed=3, scenes=(12, 4))
    vocabulary = folder / "coco2014_vocab.json"
    words = json.loads(vocabulary.read_text())["idx_to_word"]
    for number in range(4, len(words)):
        words[number] += HOSTILE[2:5][number % 3]  # others no vocabulary may hold
    ids = {word: number for number, word in enumerate(words)}
    told = {"idx_to_word": words, "word_to_idx": ids}
    vocabulary.write_text(json.dumps(told))
    for split, count in (("train", 12), ("val", 4)):
        addresses = [f"http://h/{i}{HOSTILE[i % 6]}" for i in range(count)]
        names = [re.sub(r"[/\\\r]", "_", split + HOSTILE[i % 6]) for i in range(count)]
        for what, lines in (("images", names), ("urls", addresses)):
            path = folder / f"{split}2014_{what}.txt"
            text = "".join(f"{line}\n" for line in lines)
            path.write_text(text.replace("\r", ""), encoding="utf-8", newline="\n")


def hostile_corpus(folder: Path) -> None:
    folder.mkdir()
    text = EVERY.replace("\r", "").replace("\x08", "")
    lines = [f"{text[:9]}\t{n % 2}\t\tthe {text} {n} slept .\n" for n in range(20)]
    for name in (TRAIN_FILE, VALIDATION_FILE):
        (folder / name).write_text("".join(lines), encoding="utf-8", newline="\n")


def run(command: str, line: Line, charset: str = "utf-8") -> Result:
    words = [*command.split(), *map(str, line)]
    env = {"COLUMNS": "100", "FORCE_COLOR": None}
    if charset == "utf-8":
        env |= {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    result = CliRunner(charset=charset).invoke(cli.minigrad, words, env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), (
        f"{command} ended in {result.exception!r}"
    )
    assert leaks(OWN.sub("", result.output)) == []
    assert "\x1b[38;5;201m" not in result.output
    return result


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    here = tmp_path_factory.mktemp("world") / NAME
    here.mkdir()
    made = World(
        *(here, here / "fresh", here / "runs/shapes", here / f"c{NAME}"),
        *(here / f"\udce9{NAME[:30]}.png", here / "w.npz", here / "cap", here / "cola"),
    )
    hostile_shapes(made.shapes)
    hostile_corpus(made.corpus)
    Image.fromarray(noise(1, side=64)[0]).save(made.picture)
    np.savez(made.weights, **nn.torch_state_dict(guessing()))
    data = ("--data", made.shapes, "--run", made.captioner)
    assert run("caption train", (*data, *CAPTIONER)).exit_code == 0
    data = ("--data", made.corpus, "--run", made.judge)
    line = (*data, "--recipe", "transformer", *JUDGE)
    assert run("cola train", line).exit_code == 0
    return made


def refused(_: object, request: Any, **__: object) -> None:
    """Answer as a server whose every word is hostile."""
    raise urllib.error.HTTPError(request.full_url, 404, EVERY, Message(), None)


@pytest.mark.parametrize("charset", ["utf-8", "ascii"])
@pytest.mark.parametrize("command", LINES)
def test_hostile_data(
    command: str, charset: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.here)
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refused)
    monkeypatch.setattr(captioning, "DEMO", {**captioning.DEMO, "epochs": 1})
    for line in LINES[command](world):
        shutil.rmtree(world.fresh, ignore_errors=True)
        result = run(command, line, charset)
        assert result.output
