"""Is every number that is asked for in a range, and every network of a size that fits?

What the command line refuses, a run's `config.json` and Python must refuse too.
"""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from apps import cli, limits
from apps.captioning import model as captioning
from apps.captioning import train as caption
from apps.captioning.decode import Decoding
from apps.cola import model as judging
from apps.cola import train as cola
from apps.limits import Range
from apps.options import numbers
from apps.settings import Settings, settings_of
from tests.apps.test_cola_train import together

# -- options -----------------------------------------------------------------------


def commands(
    group: click.Command, *path: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below a group, each with the words that call it."""
    if not isinstance(group, click.Group):
        yield path, group
        return
    for name, command in group.commands.items():
        yield from commands(command, *path, name)


OPTIONS = [
    pytest.param(path, option, id=f"{' '.join(path)} {option.opts[0]}")
    for path, command in commands(cli.minigrad)
    for option in command.params
    if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
]


def test_there_are_numeric_options() -> None:
    names = {option.opts[0] for _, option in (p.values for p in OPTIONS)}
    assert {"--lr", "--seed", "--dropout", "--temperature", "--hidden-dim"} <= names


NO_NUMBERS = ["nan", "-nan", "inf", "-inf", "1e400", "-1", "9" * 40, "x", "", "0x10"]


@pytest.mark.parametrize(("path", "option"), OPTIONS)
def test_every_number_has_a_range(path: tuple[str, ...], option: click.Option) -> None:
    """Before any work is done, and whatever else may be missing."""
    assert isinstance(option.type, click.types._NumberRangeBase)
    ends = (option.type.min, option.type.max)
    assert None not in ends
    assert all(map(math.isfinite, ends))
    for text in NO_NUMBERS:
        with pytest.raises(click.BadParameter):
            option.type.convert(text, option, None)


@pytest.mark.parametrize(("path", "option"), OPTIONS)
def test_a_number_out_of_range_is_one_message(
    path: tuple[str, ...], option: click.Option, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*path, option.opts[0], "nan"]
    result = CliRunner().invoke(cli.minigrad, line)
    assert result.exit_code == 2
    assert result.output.count("Error: ") == 1
    assert f"'{option.opts[0]}'" in result.output
    assert not list(tmp_path.iterdir())


# -- ranges ------------------------------------------------------------------------

RANGES = [limits.COUNT, limits.SEED, limits.FRACTION, limits.RATE, limits.DECAY]
RANGES += [limits.LENGTH, limits.BEAMS, limits.TEMPERATURE, limits.PENALTY]
VALUES = st.one_of(st.integers(), st.floats(), st.booleans(), st.text(), st.none())


@given(st.sampled_from(RANGES), VALUES)
def test_an_option_and_its_range_agree(of: Range, value: object) -> None:
    """What the command line makes of a text, the range contains, and only that."""
    try:
        found = numbers(of).convert(str(value), None, None)
    except click.BadParameter:
        found = None
    if type(value) in ((int,) if of.whole else (int, float)):
        assert (found is not None) == (value in of)
    if found is not None:
        assert found in of


@pytest.mark.parametrize("of", RANGES, ids=str)
def test_the_ends_of_a_range(of: Range) -> None:
    assert (of.low in of) != of.above
    assert (of.high in of) != of.below
    for value in (math.nan, math.inf, -math.inf, True, None, "1"):
        assert value not in of


def counted(kind: type[Settings]) -> list[str]:
    """The settings that are numbers of something."""
    return [of.name for of in settings_of(kind) if of.of is limits.COUNT]


BAD: list[tuple[type, dict[str, Any]]] = [
    *(
        (kind, {name: 0})
        for kind in (caption.Settings, cola.Settings)
        for name in counted(kind)
    ),
    *((caption.Settings, {name: math.nan}) for name in ("lr", "dropout")),
    *((cola.Settings, {n: math.nan}) for n in ("lr", "dropout", "weight_decay")),
    *((of, {"seed": -1}) for of in (caption.Settings, cola.Settings, Decoding)),
    (caption.Settings, {"lr": math.inf}),
    (caption.Settings, {"hidden_dim": 10**12}),
    (cola.Settings, {"hidden_dim": 10**12}),
    (Decoding, {"beam_size": 10**12}),
    (Decoding, {"draws": 10**12}),
    (Decoding, {"temperature": math.nan}),
]


@pytest.mark.parametrize(("kind", "values"), BAD)
def test_settings_refuse_what_options_do(kind: type, values: dict[str, Any]) -> None:
    name = next(iter(values)).replace("_", ".")
    more = {"data": "x"} if kind is not Decoding else {}
    with pytest.raises(ValueError, match=f"{name} is .* but must be"):
        kind(**values, **more)


# -- sizes -------------------------------------------------------------------------

SIZES = st.integers(1, 12)


@given(st.sampled_from([*captioning.CELLS]), SIZES, SIZES, SIZES, st.integers(0, 5))
def test_the_captioners_weights_are_counted(
    cell: str, D: int, W: int, H: int, more: int
) -> None:
    words = ["<NULL>", "<START>", "<END>", "<UNK>", *map(str, range(more))]
    vocabulary = {word: index for index, word in enumerate(words)}
    made = captioning.Captioner(vocabulary, D, W, H, cell)
    counted = captioning.count_weights(len(words), D, cell, W, H)
    assert counted == sum(p.size for p in made.parameters())


@given(SIZES, SIZES, SIZES, SIZES, SIZES, st.integers(1, 3), st.booleans())
def test_the_judges_weights_are_counted(
    V: int, T: int, heads: int, width: int, hidden: int, layers: int, course: bool
) -> None:
    sizes: dict[str, Any] = {"max_length": T, "num_heads": heads, "hidden_dim": hidden}
    if course:
        sizes |= {"embed_dim": width, "head_dim": 5}
        made = judging.ClassificationTransformer(V, **sizes)
        inner = 5 * heads
    else:
        width *= heads
        made = judging.SentenceTransformer(V, embed_dim=width, layers=layers, **sizes)
        inner = width
    counted = judging.count_weights(V, T, width, inner, hidden, layers, course)
    assert counted == sum(p.size for p in made.parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--hidden-dim", 10**6], "network of 4,"),
        (["--wordvec-dim", 10**9], "a network of"),
        (["--members", 10**6], "Give less of --hidden-dim, --wordvec-dim or --members"),
        (["--hidden-dim", 3000, "--members", 4, "--batch", 10**9], "one minibatch"),
    ],
)
def test_a_captioner_too_large_is_refused_before_it_is_made(
    options: list[object], told: str, drawn: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(limits, "MOST_NUMBERS", 2**26)
    line = ["caption", "train", "--data", drawn, "--run", tmp_path / "r", *options]
    tracemalloc.start()
    try:
        result = CliRunner().invoke(cli.minigrad, [*map(str, line), "--device", "cpu"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.exit_code == 1, result.output
    assert told in result.output
    assert result.output.count("Error: ") == 1
    assert peak < 100e6
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--hidden-dim", 10**8],
        ["--layers", 10**6],
        ["--embed-dim", 10**8, "--num-heads", 10**8],
        ["--recipe", "course", "--embed-dim", 10**7],
        ["--recipe", "course", "--num-heads", 10**7],
    ],
)
def test_a_judge_too_large_is_refused_before_it_is_made(
    options: list[object], tmp_path: Path
) -> None:
    line = ["cola", "train", "--run", tmp_path / "r", "--device", "cpu", *options]
    result = CliRunner().invoke(cli.minigrad, [*map(str, line), "--max-train", "50"])
    assert result.exit_code == 1, result.output
    assert "a network of" in result.output
    assert not (tmp_path / "r").exists()


def test_neighbours_beyond_the_sentences_are_all_of_them() -> None:
    settings = cola.Settings(neighbours=10**9, batch=10**9)
    (batch,) = together(7, settings, epoch=0)
    assert sorted(batch.tolist()) == list(range(7))


def test_a_size_in_the_settings_of_a_run_is_believed_as_little(
    drawn: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    line = ["caption", "train", "--data", str(drawn), "--run", str(run)]
    line += ["--hidden-dim", "8", "--epochs", "1", "--device", "cpu"]
    assert CliRunner().invoke(cli.minigrad, line).exit_code == 0
    config = json.loads((run / "config.json").read_text())
    for hidden, told in ((10**6, "a network of 4,"), (10**12, "must be a whole")):
        (run / "config.json").write_text(json.dumps({**config, "hidden_dim": hidden}))
        result = CliRunner().invoke(cli.minigrad, ["caption", "sample", str(run)])
        assert result.exit_code == 1
        assert told in result.output


def test_memory_that_runs_out_is_a_message(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError("Unable to allocate 3.00 TiB")

    run = tmp_path / "run"
    line = ["caption", "train", "--data", str(drawn), "--run", str(run)]
    line += ["--hidden-dim", "8", "--epochs", "1", "--device", "cpu"]
    monkeypatch.setattr(caption.Job, "update", full)
    result = CliRunner().invoke(cli.minigrad, line)
    assert result.exit_code == 1
    assert "memory ran out (Unable to allocate 3.00 TiB)" in result.output
    assert "smaller --batch" in result.output
    assert "stopped on" in (run / "report.html").read_text(encoding="utf-8")
