"""What came of looking into a network, as a page to read? Pictures, figures, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from apps import report as pages
from apps.image_gradients import classes as imagenet
from apps.image_gradients.figures import Panel, curves, difference, draw, overlaid
from apps.image_gradients.fool import Fooled
from apps.image_gradients.pictures import Picture, save
from apps.image_gradients.saliency import Attribution
from apps.image_gradients.visualize import Drawn
from apps.report import Plot, Report, Section
from apps.tables import Table

T = TypeVar("T")

COLUMNS = 5  # pictures side by side in a figure
ROWS = 5  # pictures one below the other
# Of a page, which holds its figures: of so many pictures it can still be mailed.
ON_PAGE = 25
TIMES = 10  # how much the fourth panel enlarges what was changed

# What `whole_file` calls our pages and pictures until they are whole.
UNFINISHED = re.compile(r"\.[\w-]+\.(html|png)\.[0-9a-f]+\.part")

MEANINGS = {
    "gradient": "how much the class's score changes with each pixel",
    "smoothgrad": "the same, averaged over noisy copies of the picture",
    "integrated": "what each pixel adds to the score (purple) or takes off it (orange)",
    "grad-cam": "where the features are that speak for the class",
}


@dataclass(frozen=True)
class Part:
    """Which of all pictures are on a page: those from `start` on, of `total`."""

    start: int
    total: int

    @property
    def number(self) -> int:
        """The page's number, from 1 on."""
        return self.start // ON_PAGE + 1

    @property
    def file(self) -> str:
        """The page's name."""
        return f"index{self.suffix}.html"

    @property
    def suffix(self) -> str:
        """What tells files of this page from those of others; the first has none."""
        return f"-{self.number}" if self.start else ""

    @property
    def neighbours(self) -> list[tuple[str, str]]:
        """The pages before and after this one, each with its file."""
        starts = {"before": self.start - ON_PAGE, "after": self.start + ON_PAGE}
        return [
            (f"the page {where}", Part(start, self.total).file)
            for where, start in starts.items()
            if 0 <= start < self.total
        ]

    @property
    def lead(self) -> str:
        """What the page is about."""
        last = min(self.start + ON_PAGE, self.total)
        count = f"{self.total} picture{'s' if self.total > 1 else ''}"
        which = f"; here are {self.start + 1} to {last}" if self.total > ON_PAGE else ""
        return f"SqueezeNet 1.1, asked about {count}{which}."

    def figure(self, number: int, pictures: int) -> int:
        """The number among all figures of one that is so far down on this page."""
        return self.start // pictures + number


def named(number: int, share: float | None = None) -> str:
    """A class's name, and how sure the network is of it."""
    name = imagenet.names()[number]
    return name if share is None else f"{name} {share:.0%}"


def best(shares: np.ndarray, count: int = 5) -> list[tuple[str, float]]:
    """The likeliest classes of one picture, by name. Shapes: (K,)."""
    order = np.argsort(-shares, kind="stable")[:count]
    return [(named(int(i)), float(shares[i])) for i in order]


def saliency_page(
    folder: Path,
    pictures: Sequence[Picture],
    asked: np.ndarray,
    shares: np.ndarray,
    maps: Mapping[str, np.ndarray],
    attributions: Sequence[Attribution],
    check: Sequence[tuple[str, Mapping[str, float]]],
    part: Part,
) -> Path:
    """Write maps of what the network looked at, and whether they tell anything.

    `attributions` are of all pictures, a few in each, or there are none.
    """
    sections = [_maps(pictures, asked, shares, maps, part)]
    if attributions:
        sections.append(_completeness(pictures, asked, attributions))
    if check:
        sections.append(_check(check, part))
    sections.append(_answers(pictures, shares))
    return _written("What did the network look at?", sections, folder, part)


def _maps(
    pictures: Sequence[Picture],
    asked: np.ndarray,
    shares: np.ndarray,
    maps: Mapping[str, np.ndarray],
    part: Part,
) -> Section:
    plots = []
    for number, few in enumerate(_parts(range(len(pictures)), COLUMNS), start=1):
        captions = [named(int(asked[i]), shares[i, asked[i]]) for i in few]
        rows = [
            [
                Panel(pictures[i].pixels, f"{pictures[i].name}\n{text}")
                for i, text in zip(few, captions, strict=True)
            ]
        ]
        for method, values in maps.items():
            rows.append([Panel(_shown(method, pictures[i], values[i])) for i in few])
        figure = draw(rows, ["picture", *maps])
        alt = f"Pictures over maps, for {'; '.join(captions)}"
        name = f"saliency-{part.figure(number, COLUMNS)}"
        plots.append(Plot(name, figure, alt))
    meanings = Table(("map", "shows"), [(name, MEANINGS[name]) for name in maps])
    text = "Above each picture stands the class asked for, and how sure the network is."
    return Section("Maps", text, [*plots, meanings])


def _shown(method: str, picture: Picture, values: np.ndarray) -> np.ndarray:
    """A map as it is; a coarse one as light on the picture."""
    return overlaid(picture.pixels, values) if method == "grad-cam" else values


def _completeness(
    pictures: Sequence[Picture],
    asked: np.ndarray,
    attributions: Sequence[Attribution],
) -> Section:
    found = [row for few in attributions for row in _sums(few)]
    rows = [
        (picture.name, named(int(i)), *row)
        for picture, i, row in zip(pictures, asked, found, strict=True)
    ]
    text = (
        "Integrated gradients add up to what the class's score gains from a black "
        "picture to this one. Over so many points between, they miss that by the gap."
    )
    heading = "picture", "class", "score gained", "sum of attributions", "gap", "points"
    return Section("Do attributions add up?", text, [Table(heading, rows)])


def _sums(few: Attribution) -> Iterator[tuple[str, ...]]:
    """What the attributions of each picture add up to, in words."""
    sums = few.attributed.sum(axis=(1, 2, 3), dtype=np.float64)
    for gained, total, gap in zip(few.gained, sums, few.gap, strict=True):
        yield f"{gained:.3f}", f"{total:.3f}", f"{gap:.1%}", f"{few.steps}"


def _check(
    check: Sequence[tuple[str, Mapping[str, float]]], part: Part
) -> Section:
    stages = ["trained", *(layer for layer, _ in check)]
    names = list(check[0][1])
    values = {name: [1.0, *(alike[name] for _, alike in check)] for name in names}
    figure = curves(stages, values, "rank correlation")
    last = {name: curve[-1] for name, curve in values.items()}
    alt = "; ".join(f"{name}: {value:.2f} at the end" for name, value in last.items())
    text = (
        "Layer by layer, from the scores down, weights are shuffled, and maps compared "
        "with those of the trained network: 1 is the same order of pixels, 0 chance. A "
        "map that does not change explains the picture, not the network: as the edges "
        "of the picture do, which ask no network."
    )
    plots = [Plot(f"sanity{part.suffix}", figure, alt)]
    return Section("Do maps depend on what was learned?", text, plots)


def _answers(pictures: Sequence[Picture], shares: np.ndarray) -> Section:
    rows = [
        (picture.name, "; ".join(f"{name} {share:.0%}" for name, share in best(of, 3)))
        for picture, of in zip(pictures, shares, strict=True)
    ]
    notes = ["; ".join(picture.notes) for picture in pictures]
    heading = ("picture", "likeliest classes")
    return Section("What the network says", "", [Table(heading, rows, notes)])


def fooling_page(
    folder: Path,
    pictures: Sequence[Picture],
    fooled: Fooled,
    before: np.ndarray,
    after: np.ndarray,
    part: Part,
) -> Path:
    """Write the pictures that fool the network, and what was done to them.

    `before` and `after` are shares of certainty (N, K), `after` of what was saved and
    read back.
    """
    plots = []
    for number, few in enumerate(_parts(range(len(pictures)), ROWS), start=1):
        rows = [_four(pictures[i].name, fooled, i, before[i], after[i]) for i in few]
        seen = ", ".join(pictures[i].name for i in few)
        alt = f"Picture, fooled picture, their difference, and ten times that: {seen}"
        name = f"fooling-{part.figure(number, ROWS)}"
        plots.append(Plot(name, draw(rows), alt))
    text = (
        "Each picture, what the network takes for something else, their difference "
        f"around grey, and {TIMES} times that. The saved picture was read back and "
        "shown to the network once more."
    )
    sections = [Section("Fooled", text, plots), _changes(pictures, fooled, after)]
    return _written("Pictures that fool the network", sections, folder, part)


def _four(
    name: str, fooled: Fooled, i: int, before: np.ndarray, after: np.ndarray
) -> list[Panel]:
    first, second = fooled.before[i], fooled.after[i]
    was, now = int(before.argmax()), int(after.argmax())
    return [
        Panel(first, f"{name}\n{named(was, before[was])}"),
        Panel(second, f"fooled\n{named(now, after[now])}"),
        Panel(difference(first, second), f"difference\nat most {fooled.levels[i]}/255"),
        Panel(difference(first, second, TIMES), f"{TIMES} times that"),
    ]


def _changes(
    pictures: Sequence[Picture], fooled: Fooled, after: np.ndarray
) -> Section:
    rows = [
        (
            picture.name,
            named(int(target)),
            f"{steps}" if steps >= 0 else "not fooled",
            f"{levels}",
            f"{after[i, target]:.0%}",
        )
        for i, (picture, target, steps, levels) in enumerate(
            zip(pictures, fooled.targets, fooled.steps, fooled.levels, strict=True)
        )
    ]
    heading = ("picture", "target", "steps", "levels of 255", "certainty, read back")
    return Section("What it took", "", [Table(heading, rows)])


def classes_page(folder: Path, drawn: Drawn, told: Sequence[tuple[str, str]]) -> Path:
    """Write what classes look like to the network, and how they came about."""
    steps = sorted(drawn.stages)
    rows = []
    for i, (number, share) in enumerate(
        zip(drawn.classes, drawn.certainty, strict=True)
    ):
        stages = [Panel(drawn.stages[step][i], f"iteration {step}") for step in steps]
        last = Panel(drawn.pixels[i], named(number, share))
        rows.append([*stages[:-1], last] if stages else [last])
    grid = list(_parts([row[-1] for row in rows], 3))
    names = ", ".join(named(number) for number in drawn.classes)
    sections = [
        Section(
            "Classes",
            "Above each stands how sure the network is of it, after saving.",
            [Plot("classes", draw(grid), f"What classes look like: {names}")],
        ),
        Section("On the way", "", [Plot("stages", draw(rows), f"Stages of {names}")]),
        Section("Settings", "", [Table(("setting", "value"), list(told))]),
    ]
    lead = "Pictures that were climbed from noise until the network was sure of them."
    path = folder / "index.html"
    pages.write(Report("What do classes look like?", sections, lead), path)
    return path


def save_all(
    folder: Path,
    names: Sequence[str],
    pixels: Iterable[np.ndarray],
    part: Part | None = None,
) -> list[Path]:
    """Write pictures as PNG, numbered, as two may have one name."""
    part = part or Part(0, len(names))
    digits = max(2, len(str(part.total)))
    paths = []
    for place, (name, image) in enumerate(zip(names, pixels, strict=True), start=1):
        number = part.start + place
        safe = re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-")
        stem = f"{number:0{digits}}-{safe}".rstrip("-")
        paths.append(folder / f"{stem}.png")
        save(image, paths[-1])
    return paths


def clear(folder: Path) -> None:
    """Remove what a process that was killed left of our pages and pictures."""
    for path in folder.glob(".*.part"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _written(
    title: str, sections: Sequence[Section], folder: Path, part: Part
) -> Path:
    path = folder / part.file
    pages.write(Report(title, sections, part.lead, others=part.neighbours), path)
    return path


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
