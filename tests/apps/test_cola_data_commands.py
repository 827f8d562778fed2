"""Can sentences be looked at, fetched and written, whatever is wrong with them?"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from apps import download
from apps.cola import catalogue, data, grammar
from apps.cola.commands import data as commands

LINES = "a-1\t1\t\tThe [boy] slept.\na-1\t0\t*\tThe boy slept the car.\n"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(commands, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus with a development file of another source."""
    place = tmp_path / "mine"
    place.mkdir()
    (place / data.TRAIN_FILE).write_text(LINES)
    (place / data.VALIDATION_FILE).write_text(LINES.replace("a-1", "b-2"))
    return place


def test_help_names_the_commands() -> None:
    output = run("--help").output
    for command in ("show", "info", "download", "make"):
        assert command in output


def test_show_the_embedded_grammar() -> None:
    output = run("show", "--count", 2).output
    for phenomenon in grammar.PHENOMENA:
        assert phenomenon in output
    assert output.count("*") == len(grammar.PHENOMENA)
    assert output == run("show", "--count", 2).output
    assert output != run("show", "--count", 2, "--seed", 1).output


def test_show_one_source(folder: Path) -> None:
    output = run("show", "--source", "wh").output
    assert "wh" in output
    assert "reflexive" not in output
    assert output.count("*") == 2
    shown = run("show", folder, "--split", "train").output
    assert "The [boy] slept." in shown
    assert "b-2" not in shown


def test_show_what_is_not_there(folder: Path) -> None:
    output = run("show", folder, "--split", "test", code=1).output
    assert "there is no split 'test' here. Give one of train, validation." in output
    output = run("show", "--source", "a", code=1).output
    assert "there is no phenomenon 'a' here. Give one of agreement" in output
    assert "no source 'a'" in run("show", folder, "--source", "a", code=1).output


def test_info(folder: Path) -> None:
    output = run("info", folder).output
    rows = {
        cells[0].strip(): [cell.strip() for cell in cells[1:]]
        for line in output.splitlines()
        if len(cells := line.strip("│").split("│")) == 3
    }
    assert rows["sentences"] == ["2", "2"]
    assert rows["acceptable"] == ["50.0%", "50.0%"]
    assert rows["words a sentence"] == ["6 to 6, mean 6.0"] * 2
    assert rows["source a-1"] == ["2", "-"]
    assert rows["source b-2"] == ["-", "2"]
    assert "vocabulary: 7 words and marks; commonest: the boy slept . [ ] car" in output


def test_info_counts_new_words(folder: Path) -> None:
    text = "b-2\t1\t\tThe girl slept.\n"
    (folder / data.VALIDATION_FILE).write_text(text)
    assert "25.0%" in run("info", folder).output


def test_info_of_the_embedded_grammar() -> None:
    output = run("info").output
    assert f"{grammar.TRAIN_SENTENCES:,}" in output
    assert "phenomenon reflexive" in output


@pytest.mark.parametrize("command", ["info", "show"])
def test_faults_are_one_message(folder: Path, command: str) -> None:
    (folder / data.TRAIN_FILE).write_text(LINES + "none\n")
    output = run(command, folder, code=1).output
    assert output.startswith("Error: ")
    assert "line 3 has 1 columns" in output


def test_the_division_can_be_chosen(folder: Path) -> None:
    output = run("info", folder, "--division", "course", code=1).output
    assert "has 2 sentences, but the course" in output


def test_make(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "sentences"
    output = run("make", folder, "--train", 400, "--val", 40, "--seed", 4).output
    assert "400 training and 40 validation sentences" in output
    made, read = grammar.corpus(4, 400, 40), data.load_corpus(folder)
    assert (read.train, read.validation) == (made.train, made.validation)
    assert [p.name for p in folder.parent.iterdir()] == ["sentences"]
    assert "exists already" in run("make", folder, code=1).output


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(
        archive: download.Archive, folder: Path, console: Console, *, keep: bool
    ) -> None:
        asked.append((archive, folder, keep))

    monkeypatch.setattr(download, "download", fetch)
    output = run("download", tmp_path / "cola", "--keep-zip").output
    assert asked == [(catalogue.ARCHIVE, tmp_path / "cola", True)]
    assert "fair use" in output
    assert "cola train --data" in output


def test_download_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "download", fetch)
    output = run("download", tmp_path / "cola", code=130).output
    assert "run the same command again" in output


def test_the_published_zip_is_what_the_catalogue_says(
    shared: Path, tmp_path: Path
) -> None:
    archive = shared / "data" / "cola" / "cola_public_1.1.zip"
    assert archive.stat().st_size == catalogue.ARCHIVE.size
    folder = tmp_path / "cola"
    download.unpack(archive, catalogue.ARCHIVE.files, folder, Console(quiet=True))
    unpacked, packed = data.load_corpus(folder), data.load_corpus(archive)
    assert unpacked.splits == packed.splits
