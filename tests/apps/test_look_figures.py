"""Do figures and pages show every picture, whole captions, and nothing over another?"""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from apps.image_gradients import classes as imagenet
from apps.image_gradients import figures, gallery
from apps.image_gradients.figures import Panel, curves, difference, draw, overlaid
from apps.image_gradients.fool import Fooled
from apps.image_gradients.gallery import Part
from apps.image_gradients.pictures import Batch, Picture, read
from apps.image_gradients.saliency import Attribution
from apps.image_gradients.visualize import Drawn
from tests.apps.look_data import noise
from tests.apps.test_report import Page

GREY = np.full((8, 8, 3), 127, "uint8")


def boxes(figure: Figure) -> tuple[list[Bbox], list[Bbox]]:
    """Where pictures and texts come to stand, in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer: Any = canvas.get_renderer()
    texts = [axis.title for axis in figure.axes if axis.get_title()] + figure.texts
    extents = [text.get_window_extent(renderer) for text in texts]
    return [axis.get_window_extent(renderer) for axis in figure.axes], extents


def overlap(a: Bbox, b: Bbox) -> bool:
    """Whether they share more than a pixel's border."""
    shared = Bbox.intersection(a, b)
    return shared is not None and min(shared.width, shared.height) > 1


def require_clear(figure: Figure) -> None:
    """Nothing lies over another, and all is on the paper."""
    pictures, texts = boxes(figure)
    pairs = combinations([*pictures, *texts], 2)
    assert not any(overlap(*pair) for pair in pairs)
    for box in (*pictures, *texts):
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height


# -- figures -----------------------------------------------------------------------


def test_every_panel_is_drawn_where_it_belongs() -> None:
    rows = [
        [Panel(GREY, f"{row}{column}") for column in range(3 - row)] for row in (0, 1)
    ]
    figure = draw(rows, ["a", "b"])
    assert [axis.get_title() for axis in figure.axes] == ["00", "01", "02", "10", "11"]
    assert [text.get_text() for text in figure.texts] == ["a", "b"]
    require_clear(figure)
    places = [axis.get_position() for axis in figure.axes]
    assert places[0].x0 < places[1].x0 < places[2].x0
    assert places[3].x0 == pytest.approx(places[0].x0)
    assert places[3].y1 < places[0].y0
    for box in boxes(figure)[0]:
        assert box.width == pytest.approx(box.height)


def test_rows_without_captions_take_no_room_for_them() -> None:
    plain = draw([[Panel(GREY)], [Panel(GREY)]]).get_figheight()
    one = draw([[Panel(GREY, "a")], [Panel(GREY)]]).get_figheight()
    two = draw([[Panel(GREY, "a\nb")], [Panel(GREY)]]).get_figheight()
    assert plain == pytest.approx(2 * figures.SIDE + 5 * figures.MARGIN)
    assert one - plain == pytest.approx(figures.LINE)
    assert two - one == pytest.approx(figures.LINE)


def test_captions_have_room_for_every_class() -> None:
    """The longest names, side by side, each under a long name of a file."""
    longest = sorted(imagenet.names(), key=len)[-30:]
    rows = [
        [
            Panel(GREY, f"IMG_20240131_12345678_HD\n{name} 100%")
            for name in longest[start : start + 5]
        ]
        for start in range(0, 30, 5)
    ]
    require_clear(draw(rows, ["picture"] * 6))


def test_no_class_is_left_out_of_its_caption() -> None:
    for number, name in enumerate(imagenet.names()):
        lines = Panel(GREY, gallery.named(number, 1.0)).lines
        shown = " ".join(lines).replace("- ", "-")
        assert shown.replace(" ", "") == f"{name} 100%".replace(" ", "")
        assert len(lines) <= 3


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_caption_fits_and_is_no_formula(text: str) -> None:
    panel = Panel(GREY, text)
    assert all(len(line) <= figures.LETTERS for line in panel.lines)
    figure = draw([[panel]])
    boxes(figure)
    assert figure.axes[0].get_title() == "\n".join(panel.lines)


def test_a_dollar_is_a_dollar() -> None:
    figure = draw([[Panel(GREY, "a $x^2$ b"), Panel(GREY, "$\\frac$")]])
    boxes(figure)
    assert [axis.get_title() for axis in figure.axes] == ["a $x^2$ b", "$\\frac$"]
    assert not any(axis.title.get_parse_math() for axis in figure.axes)


def test_maps_of_one_sign_and_of_both_have_their_own_colours() -> None:
    one = np.linspace(0, 1, 64).reshape(8, 8)
    figure = draw([[Panel(one), Panel(one - 0.5), Panel(np.zeros((8, 8)))]])
    first, second, third = (axis.images[0] for axis in figure.axes)
    assert first.get_cmap().name == third.get_cmap().name == "magma"
    assert first.get_clim() == pytest.approx((0, 1), abs=0.01)
    low, high = second.get_clim()
    assert low == -high
    assert second.to_rgba(np.zeros((1, 1)))[0, 0, :3] == pytest.approx(1, abs=0.05)
    assert third.get_clim() == (0, 1)


def test_a_few_bright_pixels_do_not_darken_the_others() -> None:
    values = np.ones((100, 100))
    values[0, :10] = 1e6
    (axis,) = draw([[Panel(values)]]).axes
    assert axis.images[0].get_clim() == pytest.approx((0, 1))


def test_differences_lie_around_grey() -> None:
    before = np.array([[[0, 100, 255]]], "uint8")
    after = np.array([[[0, 103, 0]]], "uint8")
    assert difference(before, before).ravel().tolist() == [128] * 3
    assert difference(before, after).ravel().tolist() == [128, 130, 0]
    assert difference(before, after, 10).ravel().tolist() == [128, 158, 0]


def test_a_picture_is_dark_where_a_map_is() -> None:
    picture = np.full((1, 3, 3), 200, "uint8")
    found = overlaid(picture, np.array([[0.0, 1.0, 2.0]]))
    assert found[0, :, 0].tolist() == [40, 120, 200]
    assert found.dtype == np.uint8
    assert overlaid(picture, np.zeros((1, 3)))[0, :, 0].tolist() == [40] * 3


def test_curves_are_all_seen_and_named() -> None:
    stages = ["trained", *(f"features.{number}" for number in range(10))]
    values = {
        "edges, no network": [1.0] * 11,
        "grad-cam": [1.0, -0.7, *[0.1] * 9],
        "gradient": [*np.linspace(1, 0, 11)],
    }
    figure = curves(stages, values, "rank correlation")
    (axis,) = figure.axes
    low, high = axis.get_ylim()
    assert low < -0.7
    assert high > 1
    colours = {to_rgba(line.get_color()) for line in axis.lines}
    assert len(colours) == len({line.get_marker() for line in axis.lines}) == 3
    assert [label.get_text() for label in axis.get_xticklabels()] == stages
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer: Any = canvas.get_renderer()
    tight = figure.get_tightbbox(renderer)
    assert min(tight.x0, tight.y0) >= 0
    assert tight.x1 <= figure.get_figwidth()
    assert tight.y1 <= figure.get_figheight()
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [*values]
    extent = legend.get_window_extent(renderer)
    assert not overlap(extent, axis.get_window_extent(renderer))


# -- pages -------------------------------------------------------------------------

ALONE = Part(0, 6)  # the page of all pictures
SHARES = np.full((6, 1000), 1e-4)
SHARES[np.arange(6), [1, 2, 3, 4, 5, 6]] = 0.9


def pictures_of(count: int) -> Batch:
    names = ["one", "<two>", "$3$", "four", "five", "six"][:count]
    return Batch.of(
        [
            Picture(name, image, ("grey, shown as colour",) if name == "one" else ())
            for name, image in zip(names, noise(6, side=16), strict=False)
        ]
    )


@pytest.fixture
def pictures() -> Batch:
    return pictures_of(6)


def written(page: Path) -> Page:
    assert page.name == "index.html"
    return Page(page.read_text(encoding="utf-8"))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_saliency_is_told_whole(tmp_path: Path, pictures: Batch) -> None:
    asked = np.array([1, 2, 3, 4, 5, 7])
    maps = {
        name: np.random.default_rng(0).random((6, 16, 16))
        for name in ("integrated", "grad-cam")
    }
    attributions = [
        Attribution(np.full((count, 3, 1, 1), 2.0), np.full(count, 8.0), steps)
        for count, steps in ((4, 32), (2, 64))
    ]
    check = [("classifier.1", {"grad-cam": 0.5}), ("features.0", {"grad-cam": 0.25})]
    page = written(
        gallery.saliency_page(
            tmp_path, pictures, asked, SHARES, maps, attributions, check, ALONE
        )
    )
    # Five pictures side by side, the sixth alone.
    assert files(tmp_path) == [
        "index.html",
        "saliency-1.png",
        "saliency-2.png",
        "sanity.png",
    ]
    assert len(page.all("img")) == 3
    assert "grad-cam: 0.25 at the end" in (page.all("img")[2]["alt"] or "")
    assert {*maps} <= {*page.text("th")}
    assert {"one", "<two>", "$3$"} <= {*page.text("th")}
    assert {"6.000", "8.000", "25.0%"} <= {*page.text("td")}
    assert page.text("td").count("32") == 4
    assert page.text("td").count("64") == 2
    assert any(text.startswith("goldfish 90%; ") for text in page.text("td"))
    assert "grey, shown as colour" in " ".join(page.text("td"))


def test_saliency_is_told_without_what_was_not_asked(
    tmp_path: Path, pictures: Batch
) -> None:
    maps = {"gradient": np.ones((1, 16, 16))}
    page = written(
        gallery.saliency_page(
            tmp_path,
            pictures_of(1),
            np.array([1]),
            SHARES[:1],
            maps,
            [],
            [],
            Part(0, 1),
        )
    )
    assert page.text("h2") == ["Maps", "What the network says"]
    assert "SqueezeNet 1.1, asked about 1 picture." in page.text("p")


def test_fooling_is_told_whole(tmp_path: Path, pictures: Batch) -> None:
    before = pictures.pixels
    after = before.copy()
    after[0, 0, 0, 0] ^= 4
    steps = np.array([3, 0, -1, 1, 1, 1])
    fooled = Fooled(before, after, np.full(6, 9), steps)
    page = written(
        gallery.fooling_page(tmp_path, pictures, fooled, SHARES, SHARES[::-1], ALONE)
    )
    assert files(tmp_path) == ["fooling-1.png", "fooling-2.png", "index.html"]
    first, second = (image["alt"] or "" for image in page.all("img"))
    assert first.endswith("one, <two>, $3$, four, five")
    assert second.endswith("six")
    cells = page.text("td")
    assert cells[:4] == ["ostrich", "3", "4", "0%"]
    assert cells.count("not fooled") == 1


def test_the_rows_of_a_fooling_say_what_was_and_is_seen(
    tmp_path: Path, pictures: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[Panel]] = []
    monkeypatch.setattr(gallery, "draw", lambda rows: drawn.extend(rows) or draw(rows))
    before = pictures.pixels
    after = before.copy()
    after[1, 0, 0, 0] ^= 4
    fooled = Fooled(before, after, np.full(6, 9), np.ones(6, int))
    gallery.fooling_page(tmp_path, pictures, fooled, SHARES, SHARES[::-1], ALONE)
    assert [row[0].caption.split("\n")[0] for row in drawn] == pictures.names
    panels = drawn[1]
    assert [panel.caption for panel in panels] == [
        f"<two>\n{imagenet.names()[2]} 90%",
        f"fooled\n{imagenet.names()[5]} 90%",
        "difference\nat most 4/255",
        "10 times that",
    ]
    np.testing.assert_array_equal(panels[1].image, after[1])


def test_many_pictures_have_pages_that_lead_to_one_another(
    tmp_path: Path, pictures: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "ON_PAGE", 5)
    maps = {"gradient": np.ones((5, 16, 16))}
    check = [("features.0", {"gradient": 0.25})]
    for start in (0, 5, 10):
        few = pictures_of(min(5, 12 - start))
        count = len(few.names)
        asked = np.arange(count)
        part = Part(start, 12)
        gallery.saliency_page(
            tmp_path, few, asked, SHARES[:count], maps, [], check, part
        )
    names = ["index.html", "index-2.html", "index-3.html"]
    figures = [f"saliency-{number}.png" for number in (1, 2, 3)]
    checks = ["sanity.png", "sanity-2.png", "sanity-3.png"]
    assert files(tmp_path) == sorted([*names, *figures, *checks])
    pages = [Page((tmp_path / name).read_text(encoding="utf-8")) for name in names]
    found = [{link["href"] for link in page.all("a")} for page in pages]
    assert found == [{names[1]}, {names[0], names[2]}, {names[1]}]
    leads = [page.text("p")[0] for page in pages]
    assert leads == [
        f"SqueezeNet 1.1, asked about 12 pictures; here are {which}."
        for which in ("1 to 5", "6 to 10", "11 to 12")
    ]


@given(total=st.integers(1, 300))
def test_every_page_has_a_name_and_figures_of_its_own(total: int) -> None:
    parts = [Part(start, total) for start in range(0, total, gallery.ON_PAGE)]
    assert len({part.file for part in parts}) == len(parts)
    assert parts[0].file == "index.html"
    for part, following in pairwise(parts):
        assert ("the page after", following.file) in part.neighbours
        assert ("the page before", part.file) in following.neighbours
        last = part.figure(-(-gallery.ON_PAGE // gallery.COLUMNS), gallery.COLUMNS)
        assert following.figure(1, gallery.COLUMNS) == last + 1
    assert len(parts[0].neighbours) == len(parts[-1].neighbours) == (len(parts) > 1)


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    ours = [".index.html.0123456789abcdef.part", ".01-cat.png.ab.part"]
    others = ["index.html", ".index.html", ".film.mkv.ab.part", ".notes.part", "a.png"]
    for name in (*ours, *others):
        (tmp_path / name).touch()
    gallery.clear(tmp_path)
    assert files(tmp_path) == sorted(others)


def test_what_is_left_is_called_as_it_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are those that files have until they are whole."""

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr("os.replace", kill)
    monkeypatch.setattr("os.unlink", kill)
    with pytest.raises(Killed):
        gallery.save_all(tmp_path, ["a"], noise(1))
    (left,) = files(tmp_path)
    monkeypatch.undo()
    assert gallery.UNFINISHED.fullmatch(left)


def test_classes_are_told_whole(tmp_path: Path) -> None:
    pixels = noise(4, side=16)
    stages = {1: pixels // 2, 50: pixels // 3, 100: pixels}
    drawn = Drawn((1, 2, 3, 4), pixels, np.array([0.5, 0.25, 1, 0]), stages)
    page = written(gallery.classes_page(tmp_path, drawn, [("rate", "25.0")]))
    assert files(tmp_path) == ["classes.png", "index.html", "stages.png"]
    assert "goldfish" in (page.all("img")[0]["alt"] or "")
    assert "rate" in page.text("th")
    assert "25.0" in page.text("td")
    widths, heights = [], []
    for name in ("classes", "stages"):
        with Image.open(tmp_path / f"{name}.png") as figure:
            widths.append(figure.width)
            heights.append(figure.height)
    # Both have three columns; one has two rows, the other four.
    assert widths[0] == pytest.approx(widths[1], abs=2)
    assert heights[0] < 0.6 * heights[1]


def test_files_are_numbered_and_named_and_give_the_pixels_back(tmp_path: Path) -> None:
    pixels = noise(4, side=224)
    paths = gallery.save_all(tmp_path, ["a", "a", "../b c$", "猫"], pixels)
    assert [path.name for path in paths] == [
        "01-a.png",
        "02-a.png",
        "03-b-c.png",
        "04.png",
    ]
    later = gallery.save_all(tmp_path, ["a"], pixels[:1], Part(25, 400))
    assert later[0].name == "026-a.png"
    for path, image in zip(paths, pixels, strict=True):
        assert path.parent == tmp_path
        np.testing.assert_array_equal(read(path).pixels, image)


def test_the_best_come_first() -> None:
    shares = np.zeros(1000)
    shares[[7, 3, 5]] = 0.2, 0.5, 0.3
    names = imagenet.names()
    expected = [(names[3], 0.5), (names[5], 0.3), (names[7], 0.2)]
    assert gallery.best(shares, 3) == expected
    assert len(gallery.best(shares)) == 5
