"""Can a set be looked at, fetched and drawn, whatever is missing from it?"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import ExifTags, Image

from apps import cli, download
from apps.captioning import catalogue, data, layout, look
from apps.files import whole_folder
from apps.screen import Screen


def run(*arguments: object, code: int = 0) -> Result:
    words = ["caption", "data", *map(str, arguments)]
    result = CliRunner().invoke(cli.minigrad, words)
    assert result.exit_code == code, result.output
    return result


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_help_names_the_commands() -> None:
    output = run("--help").output
    for command in ("show", "info", "download", "make-shapes"):
        assert command in output


def test_show(drawn: Path, tmp_path: Path) -> None:
    to = tmp_path / "new" / "pictures.png"
    shown = run("show", drawn, "--count", 5, "--split", "val", "--to", to)
    assert shown.output.count("val_0") == 5
    assert all(colour in shown.output for colour in ("red", "blue"))
    assert f"5 pictures with captions: {to}" in shown.output
    assert "missing" not in shown.output
    picture = pixels(to)
    assert picture.shape[0] > 500
    assert picture.shape[1] > 1000
    # Nothing is drawn up to the edge, where it would be cut off.
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert all((edge == 255).all() for edge in edges)
    page = to.with_suffix(".html")
    assert f"The same as a page: {page}" in shown.output
    assert page.read_text(encoding="utf-8").count("<img") == 5
    assert {p.name for p in to.parent.iterdir()} == {to.name, page.name}


def test_show_depends_on_the_seed_alone(drawn: Path, tmp_path: Path) -> None:
    outputs = []
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        to = tmp_path / f"{name}.png"
        result = run("show", drawn, "--count", 3, "--seed", seed, "--to", to)
        page = to.with_suffix(".html").read_text(encoding="utf-8")
        output = result.output.replace(str(to.with_suffix("")), "")
        outputs.append((output, to.read_bytes(), page))
    assert outputs[0] == outputs[1]
    assert outputs[0][0] != outputs[2][0]


def test_show_writes_into_runs(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("show", drawn, "--count", 1)
    for ending in ("png", "html"):
        assert (tmp_path / "runs" / f"data-shapes-train.{ending}").is_file()


@pytest.mark.parametrize("name", ["a.html", "a.png", "a"])
def test_the_picture_and_the_page_are_two_files(
    drawn: Path, tmp_path: Path, name: str
) -> None:
    run("show", drawn, "--count", 1, "--to", tmp_path / name)
    png = tmp_path / ("a" if name == "a" else "a.png")
    assert pixels(png).shape[2] == 3
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype")


def test_more_pictures_than_there_are(drawn: Path, tmp_path: Path) -> None:
    to = tmp_path / "all.png"
    output = run("show", drawn, "--split", "val", "--count", 99, "--to", to).output
    assert "12 pictures with captions" in output


# What may be wrong with a picture; a grey box stands in for it.
BROKEN = {
    "missing": b"",
    "empty": b"",
    "text": b"no picture at all",
    "cut short": b"half",
    "html": b"<html>404</html>",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_unreadable_pictures_get_a_placeholder(
    copy: Path, tmp_path: Path, fault: str
) -> None:
    path = copy / "images" / "val_00003.png"
    whole = path.read_bytes()
    path.unlink()
    if fault == "cut short":
        path.write_bytes(whole[: len(whole) // 2])
    elif fault != "missing":
        path.write_bytes(BROKEN[fault])
    to = tmp_path / "out.png"
    output = run("show", copy, "--split", "val", "--count", 12, "--to", to).output
    assert "1 of them are missing or cannot be read" in output
    assert f"Save each in {copy / 'images'} under its name" in output
    assert (pixels(to) == 222).all(axis=2).any()


def test_a_huge_picture_is_not_unpacked(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy / "images" / "val_00003.png"
    assert look.read_picture(path) is not None
    monkeypatch.setattr("apps.pictures.LIMIT", 64 * 64 * 3)
    assert look.read_picture(path) is None


@pytest.mark.parametrize("kind", ["turned", "16 bits", "floats", "transparent", "eps"])
def test_pictures_are_read_as_everywhere_in_the_project(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.png"
    grey = np.full((20, 10), 51, "uint8")
    if kind == "turned":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        Image.fromarray(grey).save(path, exif=exif)
    elif kind == "16 bits":
        Image.fromarray(grey.astype("uint16") * 257).save(path)
    elif kind == "floats":
        values = np.where(np.arange(20)[:, None] < 10, 51, 255).repeat(10, 1) / 255
        Image.fromarray((values - 0.2).astype("float32")).save(path, format="TIFF")
    elif kind == "transparent":
        Image.new("LA", (10, 20), (0, 204)).save(path)
    else:
        Image.fromarray(grey).convert("RGB").save(path, format="EPS")
    picture = look.read_picture(path)
    if kind == "eps":
        assert picture is None
        return
    assert picture is not None
    assert picture.mode == "RGB"
    assert picture.size == ((20, 10) if kind == "turned" else (10, 20))
    corner = (0, 0, 0) if kind == "floats" else (51, 51, 51)
    assert picture.getpixel((0, 0)) == corner


def test_a_picture_is_kept_no_larger_than_it_is_shown(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1000)).save(tmp_path / "a.png")
    picture = look.read_picture(tmp_path / "a.png")
    assert picture is not None
    assert picture.size == (look.LARGEST, 171)


def test_names_and_captions_that_no_font_has_are_drawn(tmp_path: Path) -> None:
    """Matplotlib would warn of them, or fail; a warning is an error here."""
    captions = ("猫 on a \udce9 \x1b[31m mat", "$\\frac$")
    card = look.Card(0, tmp_path / "caf\udce9 猫.png", "", captions, "猫 \udce9")
    assert look.save_cards([card], tmp_path / "cards.png") == 0


@pytest.fixture
def addresses_only(copy: Path) -> Path:
    """A set such as the published one: no pictures, but where they once were."""
    shutil.rmtree(copy / "images")
    for split, count in (("train", 51), ("val", 12)):
        (copy / f"{split}2014_images.txt").unlink()
        urls = [f"http://pictures.example/a/{split}{i}_z.jpg?s=1" for i in range(count)]
        (copy / f"{split}2014_urls.txt").write_text("\n".join(urls) + "\n")
    return copy


def test_a_set_with_addresses_only(addresses_only: Path, tmp_path: Path) -> None:
    arguments = ("show", addresses_only, "--split", "val", "--count", 12)
    output = run(*arguments, "--to", tmp_path / "none.png").output
    assert "val5_z.jpg" in output
    assert "12 of them are missing" in output
    assert "its address stands there too" in output
    # As the message says: saved under that name, it is shown.
    (addresses_only / "images").mkdir()
    Image.new("RGB", (9, 9), (255, 0, 0)).save(addresses_only / "images/val5_z.jpg")
    output = run(*arguments, "--to", tmp_path / "one.png").output
    assert "11 of them are missing" in output
    red = np.array([254, 0, 0])
    assert (abs(pixels(tmp_path / "one.png").astype(int) - red) < 3).all(axis=2).any()


def test_a_set_without_any_pictures(copy: Path, tmp_path: Path) -> None:
    (copy / "train2014_images.txt").unlink()
    output = run("show", copy, "--to", tmp_path / "out.png").output
    assert "the folder names no pictures" in output
    assert "row " in output


def test_an_address_that_is_none_is_no_name(copy: Path, tmp_path: Path) -> None:
    (copy / "val2014_images.txt").unlink()
    (copy / "val2014_urls.txt").write_text("http://[half\n" * 12)
    output = run("show", copy, "--split", "val", "--to", tmp_path / "o.png").output
    assert "http://[half" in output
    assert "<a " not in (tmp_path / "o.html").read_text(encoding="utf-8")


def test_captions_are_no_markup(tmp_path: Path) -> None:
    """Neither a formula to matplotlib nor a style to rich."""
    formula = r"$\frac$"  # no formula that matplotlib could read
    captions = (f"costs {formula}", "a [red] word", "x^2_y")
    card = look.Card(0, Path(f"{formula}.png"), "http://host/[bold]", captions)
    output = io.StringIO()
    look.print_cards([card], Screen(output, width=100))
    for text in (*captions, "http://host/[bold]"):
        assert text in output.getvalue()
    assert look.save_cards([card], tmp_path / "card.png") == 0


def test_info(drawn: Path) -> None:
    output = run("info", drawn).output
    for text in ("captions", "255", "60", "176 float32", "<UNK>"):
        assert text in output
    assert "vocabulary: 27 words; the commonest: a, " in output
    assert len(output.splitlines()) <= 24, "more than one screen"


def test_info_counts(copy: Path) -> None:
    loaded = data.load_data(copy)
    ids = loaded.vocabulary
    captions = loaded.val.captions.copy()
    captions[0, 1] = ids["<UNK>"]
    captions[1, 1:] = ids["red"]
    object.__setattr__(loaded.val, "captions", captions)
    output = io.StringIO()
    look.print_info(loaded, Screen(output, width=100))
    rows = {
        cells[0].strip(): cells[2].strip()
        for line in output.getvalue().splitlines()
        if len(cells := line.strip("│").split("│")) == 3
    }
    assert rows["words a caption"].startswith("7 to 16")
    assert rows["captions cut off at 17 ids"] == f"{1 / 60:.1%}"
    assert rows["words that are <UNK>"] == f"{1 / 524:.1%}"
    assert rows["picture files here"] == "12"


@pytest.mark.parametrize("command", ["info", "show"])
def test_faults_are_one_message(copy: Path, tmp_path: Path, command: str) -> None:
    (copy / layout.CAPTIONS_FILE).write_bytes(b"none")
    result = run(command, copy, code=1)
    assert result.output.startswith("Error: ")
    assert "cannot be read as an HDF5 file" in result.output


def test_full_features_are_asked_for_by_name(drawn: Path) -> None:
    assert (
        "fc7.h5 is missing" in run("info", drawn, "--features", "full", code=1).output
    )


def test_make_shapes(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "shapes"
    output = run("make-shapes", folder, "--train", 6, "--val", 3, "--seed", 4).output
    assert "6 training and 3 validation scenes" in output
    loaded = data.load_data(folder)
    assert (len(loaded.train.features), len(loaded.val.features)) == (6, 3)
    assert [p.name for p in folder.parent.iterdir()] == ["shapes"]
    assert "exists already" in run("make-shapes", folder, code=1).output


def test_a_folder_that_fails_half_way_is_not_there(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "new") as folder:
            (folder / "half.txt").write_text("half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(
        archive: download.Archive, folder: Path, console: Screen, *, keep: bool
    ) -> None:
        asked.append((archive, folder, keep))

    monkeypatch.setattr(download, "download", fetch)
    output = run("download", tmp_path / "coco").output
    assert asked == [(catalogue.ARCHIVE, tmp_path / "coco", False)]
    assert "CC BY 4.0" in output
    assert "caption train --data" in output


def test_download_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "download", fetch)
    output = run("download", tmp_path / "coco", code=130).output
    assert "run the same command again" in output


def test_download_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise download.DownloadError("the server is gone")

    monkeypatch.setattr(download, "download", fetch)
    assert "Error: the server is gone" in run("download", tmp_path, code=1).output


def test_the_published_set_is_described_in_full() -> None:
    needed = {layout.CAPTIONS_FILE, layout.VOCABULARY_FILE}
    for split in ("train", "val"):
        needed |= {layout.features_file(split), layout.list_file(split, "urls")}
    assert set(catalogue.ARCHIVE.files) == needed
    for file in catalogue.ARCHIVE.files.values():
        assert len(bytes.fromhex(file.sha256)) == 32
