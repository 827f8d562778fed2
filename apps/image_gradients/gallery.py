"""Pages of results: maps, fooled pictures, drawn classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

import numpy as np

from apps import report as pages
from apps.image_gradients import classes as imagenet
from apps.image_gradients.figures import Panel, curves, difference, draw, overlaid
from apps.image_gradients.fool import Fooled
from apps.image_gradients.pictures import Batch, save
from apps.image_gradients.saliency import Attribution
from apps.image_gradients.visualize import Drawn
from apps.report import Plot, Report, Section
from apps.tables import Table

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

    def named(self, name: str) -> str:
        """A file's name on this page; the first page's are the plain ones."""
        return f"{name}-{self.start // ON_PAGE + 1}" if self.start else name

    @property
    def file(self) -> str:
        """The page's name."""
        return f"{self.named('index')}.html"

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


def named(number: SupportsIndex, certainty: float | None = None) -> str:
    """A class's name, and how sure the network is of it."""
    name = imagenet.names()[number]
    return name if certainty is None else f"{name} {certainty:.0%}"


def likeliest(p: np.ndarray) -> str:
    """What the network sees in one picture, and how sure it is. Shapes: (K,)."""
    return named(p.argmax(), p.max())


def best(p: np.ndarray, count: int = 5) -> list[tuple[str, float]]:
    """The likeliest classes of one picture, by name. Shapes: (K,)."""
    order = np.argsort(-p, kind="stable")[:count]
    return [(named(i), float(p[i])) for i in order]


def saliency_page(
    folder: Path,
    batch: Batch,
    asked: np.ndarray,
    p: np.ndarray,
    maps: Mapping[str, np.ndarray],
    attributions: Sequence[Attribution],
    check: Sequence[tuple[str, Mapping[str, float]]],
    part: Part,
) -> Path:
    """Write maps of what the network looked at, and whether they tell anything.

    `p` are probabilities (N, K); `attributions` are of a few pictures each, or none.
    """
    sections = [_maps(batch, asked, p, maps, part)]
    if attributions:
        sections.append(_completeness(batch, asked, attributions))
    if check:
        sections.append(_check(check, part))
    answers = ["; ".join(f"{n} {p:.0%}" for n, p in best(row, 3)) for row in p]
    rows = list(zip(batch.names, answers, strict=True))
    table = Table(("picture", "likeliest classes"), rows, batch.notes)
    sections.append(Section("What the network says", "", [table]))
    return _written("What did the network look at?", sections, folder, part)


def _maps(
    batch: Batch,
    asked: np.ndarray,
    p: np.ndarray,
    maps: Mapping[str, np.ndarray],
    part: Part,
) -> Section:
    captions = [named(c, row[c]) for c, row in zip(asked, p, strict=True)]
    shown = dict(maps)
    if "grad-cam" in maps:  # coarse, so it is shown as light on the picture
        lit = map(overlaid, batch.pixels, maps["grad-cam"])
        shown["grad-cam"] = np.stack(list(lit))
    plots = []
    for name, few in _figures("saliency", batch, COLUMNS, part):
        top = [Panel(batch.pixels[i], f"{batch.names[i]}\n{captions[i]}") for i in few]
        below = [[Panel(values[i]) for i in few] for values in shown.values()]
        told = "; ".join(captions[i] for i in few)
        figure = draw([top, *below], ["picture", *maps])
        plots.append(Plot(name, figure, f"Pictures over maps, for {told}"))
    meanings = Table(("map", "shows"), [(name, MEANINGS[name]) for name in maps])
    text = "Above each picture stands the class asked for, and how sure the network is."
    return Section("Maps", text, [*plots, meanings])


def _completeness(
    batch: Batch, asked: np.ndarray, attributions: Sequence[Attribution]
) -> Section:
    sums = [
        (f"{gained:.3f}", f"{total:.3f}", f"{gap:.1%}", f"{few.steps}")
        for few in attributions
        for gained, total, gap in zip(few.gained, few.total, few.gap, strict=True)
    ]
    pictures = zip(batch.names, asked, sums, strict=True)
    rows = [(name, named(i), *row) for name, i, row in pictures]
    text = (
        "Integrated gradients add up to what the class's score gains from a black "
        "picture to this one. Over so many points between, they miss that by the gap."
    )
    heading = "picture", "class", "score gained", "sum of attributions", "gap", "points"
    return Section("Do attributions add up?", text, [Table(heading, rows)])


def _check(check: Sequence[tuple[str, Mapping[str, float]]], part: Part) -> Section:
    stages = ["trained", *(layer for layer, _ in check)]
    values = {name: [1.0, *(alike[name] for _, alike in check)] for name in check[0][1]}
    figure = curves(stages, values, "rank correlation")
    alt = "; ".join(f"{name}: {v[-1]:.2f} at the end" for name, v in values.items())
    text = (
        "Layer by layer, from the scores down, weights are shuffled, and maps compared "
        "with those of the trained network: 1 is the same order of pixels, 0 chance. A "
        "map that does not change explains the picture, not the network: as the edges "
        "of the picture do, which ask no network."
    )
    plots = [Plot(part.named("sanity"), figure, alt)]
    return Section("Do maps depend on what was learned?", text, plots)


def fooling_page(
    folder: Path,
    batch: Batch,
    fooled: Fooled,
    before: np.ndarray,
    after: np.ndarray,
    part: Part,
) -> Path:
    """Write the pictures that fool the network, and what was done to them.

    `before` and `after` are probabilities (N, K), `after` of what was read back.
    """
    parts = "Picture, fooled picture, their difference, and ten times that"
    plots = []
    for name, few in _figures("fooling", batch, ROWS, part):
        figure = draw([_four(batch, fooled, i, before[i], after[i]) for i in few])
        told = ", ".join(batch.names[i] for i in few)
        plots.append(Plot(name, figure, f"{parts}: {told}"))
    text = (
        "Each picture, what the network takes for something else, their difference "
        f"around grey, and {TIMES} times that. The saved picture was read back and "
        "shown to the network once more."
    )
    rows = []
    for i, target in enumerate(fooled.targets):
        steps = str(fooled.steps[i]) if fooled.steps[i] >= 0 else "not fooled"
        taken = (steps, str(fooled.levels[i]), f"{after[i, target]:.0%}")
        rows.append((batch.names[i], named(target), *taken))
    heading = ("picture", "target", "steps", "levels of 255", "certainty, read back")
    table = Table(heading, rows)
    sections = [Section("Fooled", text, plots), Section("What it took", "", [table])]
    return _written("Pictures that fool the network", sections, folder, part)


def _four(
    batch: Batch, fooled: Fooled, i: int, before: np.ndarray, after: np.ndarray
) -> list[Panel]:
    first, second = fooled.before[i], fooled.after[i]
    return [
        Panel(first, f"{batch.names[i]}\n{likeliest(before)}"),
        Panel(second, f"fooled\n{likeliest(after)}"),
        Panel(difference(first, second), f"difference\nat most {fooled.levels[i]}/255"),
        Panel(difference(first, second, TIMES), f"{TIMES} times that"),
    ]


def classes_page(folder: Path, drawn: Drawn, told: Sequence[tuple[str, str]]) -> Path:
    """Write what classes look like to the network, and how they came about."""
    steps = sorted(drawn.stages)[:-1]
    captions = map(named, drawn.classes, drawn.certainty)
    last = list(map(Panel, drawn.pixels, captions))
    rows = [
        [*(Panel(drawn.stages[step][i], f"iteration {step}") for step in steps), panel]
        for i, panel in enumerate(last)
    ]
    grid = [last[begin : begin + 3] for begin in range(0, len(last), 3)]
    names = ", ".join(named(number) for number in drawn.classes)
    text = "Above each stands how sure the network is of it, after saving."
    alt = f"What classes look like: {names}"
    sections = [
        Section("Classes", text, [Plot("classes", draw(grid), alt)]),
        Section("On the way", "", [Plot("stages", draw(rows), f"Stages of {names}")]),
        Section("Settings", "", [Table(("setting", "value"), list(told))]),
    ]
    lead = "Pictures made from noise by gradient ascent, until the network was sure."
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
    for number, name in enumerate(names, start=part.start + 1):
        safe = re.sub(r"\W+", "-", f"{number:0{digits}}-{name}", flags=re.ASCII)
        paths.append(folder / f"{safe.strip('-')}.png")
    for path, image in zip(paths, pixels, strict=True):
        save(image, path)
    return paths


def clear(folder: Path) -> None:
    """Remove what a process that was killed left of our pages and pictures."""
    for path in folder.glob(".*.part"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _figures(
    kind: str, batch: Batch, size: int, part: Part
) -> Iterator[tuple[str, range]]:
    """The name of each figure, and which so many pictures of a page are on it."""
    everything = range(len(batch.names))
    for number, begin in enumerate(everything[::size], start=1):
        name = f"{kind}-{part.figure(number, size)}"
        yield name, everything[begin : begin + size]


def _written(title: str, sections: Sequence[Section], folder: Path, part: Part) -> Path:
    path = folder / part.file
    pages.write(Report(title, sections, part.lead, others=part.neighbours), path)
    return path
