"""Does a report stand alone, show every text as it is, and never appear by halves?"""

from __future__ import annotations

import base64
import io
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from apps import report, run_report
from apps.report import Card, Command, Gallery, Plot, Report, Section, Texts
from apps.tables import Table

VOID = {"meta", "img"}
# None of them loads or runs anything, but for pictures.
HARMLESS = VOID | {
    *("html", "head", "title", "style", "body", "main", "header", "section"),
    *("h1", "h2", "p", "dl", "dt", "dd", "div", "span", "a", "pre", "code"),
    *("table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
}


class Page(HTMLParser):
    """A page's tags with their attributes, and its texts by the tag they stand in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[list[str]] = []
        self._open: list[list[str]] = []
        self.feed(html)
        self.close()
        assert not self._open, "a tag is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in HARMLESS
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._texts.append([tag])
            self._open.append(self._texts[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag: str) -> list[str]:
        """What stands in each such tag itself, not in tags inside it."""
        return ["".join(texts) for name, *texts in self._texts if name == tag]


def page_of(*blocks: report.Block, **more: Any) -> Page:
    return Page(report.render(Report("title", [Section("s", "", blocks)], **more)))


def read_embedded(uri: str | None) -> Image.Image:
    assert uri is not None
    kind, content = uri.split(",", 1)
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def make_plot(name: str = "line") -> Plot:
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    return Plot(name, figure, "a line that rises", "It rises.")


def everything() -> Report:
    picture = Image.new("RGB", (300, 200), (0, 90, 160))
    texts = [
        Texts("said", ["yes"], strong=True, verdict="correct", good=True),
        Texts("true", ["no", "maybe"]),
    ]
    cards = [
        Card(
            "here.png", picture, "all blue", texts, address="https://host.example/a?b"
        ),
        Card("gone.png", None, "", placeholder="gone.png is missing"),
    ]
    blocks = [
        Table(("what", "how much"), [("this", "1.5"), ("that", "20%")], ["a note", ""]),
        make_plot(),
        Gallery(cards),
        Command("minigrad caption demo"),
    ]
    sections = [Section("All there is", "Look.", blocks)]
    return Report("A title", sections, "lead", "status", [("correct", "9%")])


def test_a_report_stands_alone() -> None:
    page = Page(report.render(everything()))
    images = page.all("img")
    assert len(images) == 2
    for image in images:
        read_embedded(image["src"]).load()
        assert image["alt"]
    places = {
        (tag, value)
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action") and tag != "img"
    }
    assert places == {("a", "https://host.example/a?b")}
    (style,) = page.text("style")
    assert "url(" not in style
    assert "@import" not in style
    assert not any(name.startswith("on") for _, names in page.tags for name in names)


def test_a_report_is_a_whole_document() -> None:
    html = report.render(everything())
    assert html.startswith("<!doctype html>\n")
    page = Page(html)
    assert page.all("html") == [{"lang": "en"}]
    assert page.text("title") == page.text("h1") == ["A title"]
    metas = page.all("meta")
    assert {"charset": "utf-8"} in metas
    assert any(meta.get("name") == "viewport" for meta in metas)


@given(st.text(min_size=1))
def test_every_text_is_shown_as_it_is(text: str) -> None:
    card = Card(text, None, text, [Texts(text, [text])], text, text)
    table = Table((text, text), [(text, text)], [text])
    page = page_of(Command(text), Gallery([card]), table, lead=text, status=text)
    for tag in ("code", "dd", "th", "td", "p"):
        assert text in page.text(tag), tag


def test_what_could_be_code_is_text() -> None:
    hostile = "<UNK> $x$ & \"a\" 'b' </dd><script>alert(1)</script> {{ 7 * 7 }}"
    picture = Image.new("RGB", (2, 2))
    page = page_of(Gallery([Card(hostile, picture, hostile, [Texts("", [hostile])])]))
    assert hostile in page.text("dd")
    assert page.all("img")[0]["alt"] == hostile


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "//host/x", "http://[x", ""]
)
def test_only_addresses_of_the_web_are_links(address: str) -> None:
    page = page_of(Gallery([Card("name.png", None, "", address=address)]))
    assert page.all("a") == []
    assert any("name.png" in text for text in page.text("figcaption"))


def test_a_missing_picture_is_told() -> None:
    page = page_of(Gallery([Card("a", None, "", placeholder="a.png is missing")]))
    assert page.all("img") == []
    assert "a.png is missing" in page.text("div")


def test_only_what_is_unfinished_looks_for_news() -> None:
    def refreshes(page: Page) -> list[str | None]:
        metas = page.all("meta")
        return [m["content"] for m in metas if m.get("http-equiv") == "refresh"]

    assert refreshes(page_of(refresh=10)) == ["10"]
    assert refreshes(page_of()) == []


def test_a_verdict_is_told_by_word_and_mark() -> None:
    texts = [
        Texts("said", ["a"], verdict="right", good=True),
        Texts("said", ["b"], verdict="beside the point"),
    ]
    page = page_of(Gallery([Card("a", None, "", texts)]))
    assert page.text("span") == ["✓ right", "✗ beside the point"]


def test_numbers_are_set_to_the_right() -> None:
    rows = [("one", "1,234.5", "a"), ("two", "7%", "2"), ("three", "–", "")]
    page = page_of(Table(("name", "count", "kind"), rows))
    assert [cell.get("class") for cell in page.all("td")] == ["number", None] * 3
    headings = page.all("th")[:3]
    assert [cell.get("class") for cell in headings] == [None, "number", None]


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.5", True), ("-1e-05", True), ("nan", True), ("1 of 2", False), ("12a", False)],
)
def test_what_is_a_number(text: str, number: bool) -> None:
    assert Table((), [("a", text)]).numeric == [False, number]


def test_a_table_is_a_rectangle() -> None:
    with pytest.raises(ValueError, match=r"rows of a table have \[1, 2\] texts"):
        Table(("a", "b"), [("c",)])
    with pytest.raises(ValueError, match="1 rows has 2 notes"):
        Table((), [("c",)], ["d", "e"])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_small_picture_is_kept_to_the_pixel(mode: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    picture = Image.fromarray(values).convert(mode)
    (image,) = page_of(Gallery([Card("a", picture, "a")])).all("img")
    assert image["class"] == "pixels"
    kept = np.asarray(read_embedded(image["src"]))
    assert np.array_equal(kept, np.asarray(picture.convert("RGB")))


def test_a_large_picture_is_made_smaller() -> None:
    picture = Image.new("RGB", (4000, 1000), (200, 10, 10))
    (image,) = page_of(Gallery([Card("a", picture, "a")])).all("img")
    assert read_embedded(image["src"]).size == (512, 128)
    assert picture.size == (4000, 1000)


def test_frames_have_the_shape_of_most_pictures() -> None:
    sizes = [(64, 64), (64, 64), (640, 480)]
    cards = [Card("a", Image.new("RGB", size), "a") for size in sizes]
    assert Gallery(cards).ratio == 1
    assert Gallery([]).ratio == pytest.approx(4 / 3, abs=0.01)
    assert Gallery([Card("a", Image.new("RGB", (900, 10)), "a")]).ratio == 1.5


def test_plots_lie_beside_the_page(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    report.write(everything(), path)
    assert {p.name for p in path.parent.iterdir()} == {"report.html", "line.png"}
    page = Page(path.read_text(encoding="utf-8"))
    uris = [image["src"] or "" for image in page.all("img")]
    content = base64.b64encode((path.parent / "line.png").read_bytes()).decode()
    assert sum(uri.endswith(content) for uri in uris) == 1


def test_two_plots_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = Report("t", [Section("s", blocks=[make_plot("a"), make_plot("a")])])
    with pytest.raises(ValueError, match="two plots have one name"):
        report.write(twice, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_utf8_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    report.write(Report("broken \ud800 name", []), path)
    assert "broken ? name" in path.read_text(encoding="utf-8")


def test_failure_while_writing_keeps_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    report.write(everything(), path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(Report("new", [Section("s", blocks=[make_plot()])]), path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def curves(plot: Plot) -> dict[str, list[tuple[float, float]]]:
    (axis,) = plot.figure.axes
    return {
        str(line.get_label()): [(x, y) for x, y in line.get_xydata()]
        for line in axis.lines
    }


def test_a_run_is_plotted() -> None:
    metrics = [
        {"epoch": 1, "step": 5, "loss": 3.0, "val_loss": 4.0, "per_second": 9},
        {"epoch": 1, "step": 5, "val_bleu": 0.1},
        {"epoch": 2, "step": 10, "loss": 2.0, "val_loss": 3.0, "per_second": 9},
        {"epoch": 2, "step": 10, "val_bleu": 0.3},
        {"epoch": 2, "step": 10, "val_bleu": 0.2, "val_exact": 0.5, "note": "text"},
    ]
    losses, scores = run_report.plot_run(metrics, epochs=8)
    assert curves(losses) == {
        "training loss": [(1, 3), (2, 2)],
        "validation loss": [(1, 4), (2, 3)],
    }
    assert curves(scores) == {"validation bleu": [(1, 0.1), (2, 0.2)]}
    assert "training loss: 3 after epoch 1, 2 after epoch 2" in losses.alt
    assert losses.figure.axes[0].get_xlim()[1] > 8


def test_a_run_without_an_epoch_has_no_plots() -> None:
    assert run_report.plot_run([], epochs=3) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_a_gap(loss: float) -> None:
    metrics = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": loss}]
    (plot,) = run_report.plot_run(metrics, epochs=3)
    ((_, first), (_, second)) = curves(plot)["training loss"]
    assert first == 2
    assert math.isnan(second)
    assert "nan after epoch 2" in plot.alt
    assert plot.png.startswith(b"\x89PNG")


def test_texts_in_a_figure_are_no_formulas_nor_orders() -> None:
    evil = "$\\frac$ \x1b[31m\udce9 字 \u202e"
    figure = Figure()
    axis = figure.add_subplot(title=evil, xlabel=evil)
    axis.plot([0, 1], label=evil)
    axis.legend()
    axis.annotate(evil, (0, 0))
    axis.set_xticks([0, 1], ["$\\frac$", "$"])
    figure.text(0, 0, evil)
    assert report.png(figure, dpi=50).startswith(b"\x89PNG")
    texts = figure.findobj(Text)
    shown = r"$\frac$ \x1b[31m\udce9 字 \u202e"
    assert [text.get_text() for text in texts].count(shown) == 5
    assert not any(text.get_parse_math() for text in texts)


def test_a_run_whose_scores_have_odd_names_is_plotted() -> None:
    name = "$\\frac$\x1b[2J\udce9"
    metrics = [{"epoch": n, "loss": 1.0, name: 0.5} for n in (1, 2)]
    for plot in run_report.plot_run(metrics, epochs=2):
        assert plot.png.startswith(b"\x89PNG")
