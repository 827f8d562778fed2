"""What came of looking into a network, as a page to read? Pictures, figures, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from apps.report import Plot, Report, Section, Table

T = TypeVar("T")

PAGE = "index.html"
COLUMNS = 5  # pictures side by side in a figure
ROWS = 5  # pictures one below the other
TIMES = 10  # how much the fourth panel enlarges what was changed

MEANINGS = {
    "gradient": "how much the class's score changes with each pixel",
    "smoothgrad": "the same, averaged over noisy copies of the picture",
    "integrated": "what each pixel adds to the score (purple) or takes off it (orange)",
    "grad-cam": "where the features are that speak for the class",
}


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
    attribution: Attribution | None,
    check: Sequence[tuple[str, Mapping[str, float]]],
) -> Path:
    """Write maps of what the network looked at, and whether they tell anything."""
    sections = [_maps(pictures, asked, shares, maps)]
    if attribution is not None:
        sections.append(_completeness(pictures, asked, attribution))
    if check:
        sections.append(_check(check))
    sections.append(_answers(pictures, shares))
    report = Report("What did the network look at?", sections, _lead(pictures))
    return _written(report, folder)


def _maps(
    pictures: Sequence[Picture],
    asked: np.ndarray,
    shares: np.ndarray,
    maps: Mapping[str, np.ndarray],
) -> Section:
    plots = []
    for number, part in enumerate(_parts(range(len(pictures)), COLUMNS), start=1):
        captions = [named(int(asked[i]), shares[i, asked[i]]) for i in part]
        rows = [
            [
                Panel(pictures[i].pixels, f"{pictures[i].name}\n{text}")
                for i, text in zip(part, captions, strict=True)
            ]
        ]
        for method, values in maps.items():
            rows.append([Panel(_shown(method, pictures[i], values[i])) for i in part])
        figure = draw(rows, ["picture", *maps])
        alt = f"Pictures over maps, for {'; '.join(captions)}"
        plots.append(Plot(f"saliency-{number}", figure, alt))
    meanings = Table(("map", "shows"), [(name, MEANINGS[name]) for name in maps])
    text = "Above each picture stands the class asked for, and how sure the network is."
    return Section("Maps", text, [*plots, meanings])


def _shown(method: str, picture: Picture, values: np.ndarray) -> np.ndarray:
    """A map as it is; a coarse one as light on the picture."""
    return overlaid(picture.pixels, values) if method == "grad-cam" else values


def _completeness(
    pictures: Sequence[Picture], asked: np.ndarray, attribution: Attribution
) -> Section:
    sums = attribution.attributed.sum(axis=(1, 2, 3), dtype=np.float64)
    rows = [
        (picture.name, named(int(i)), f"{gained:.3f}", f"{total:.3f}", f"{gap:.1%}")
        for picture, i, gained, total, gap in zip(
            pictures, asked, attribution.gained, sums, attribution.gap, strict=True
        )
    ]
    text = (
        "Integrated gradients add up to what the class's score gains from a black "
        f"picture to this one. Over {attribution.steps} points between, they miss that "
        "by the gap."
    )
    heading = ("picture", "class", "score gained", "sum of attributions", "gap")
    return Section("Do attributions add up?", text, [Table(heading, rows)])


def _check(check: Sequence[tuple[str, Mapping[str, float]]]) -> Section:
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
    plots = [Plot("sanity", figure, alt)]
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
) -> Path:
    """Write the pictures that fool the network, and what was done to them.

    `before` and `after` are shares of certainty (N, K), `after` of what was saved and
    read back.
    """
    plots = []
    for number, part in enumerate(_parts(range(len(pictures)), ROWS), start=1):
        rows = [
            _four(pictures[i].name, fooled, i, before[i], after[i]) for i in part
        ]
        seen = ", ".join(pictures[i].name for i in part)
        alt = f"Picture, fooled picture, their difference, and ten times that: {seen}"
        plots.append(Plot(f"fooling-{number}", draw(rows), alt))
    text = (
        "Each picture, what the network takes for something else, their difference "
        f"around grey, and {TIMES} times that. The saved picture was read back and "
        "shown to the network once more."
    )
    sections = [Section("Fooled", text, plots), _changes(pictures, fooled, after)]
    report = Report("Pictures that fool the network", sections, _lead(pictures))
    return _written(report, folder)


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
    return _written(Report("What do classes look like?", sections, lead), folder)


def save_all(
    folder: Path, names: Sequence[str], pixels: Iterable[np.ndarray]
) -> list[Path]:
    """Write pictures as PNG, numbered, as two may have one name."""
    paths = []
    for number, (name, image) in enumerate(zip(names, pixels, strict=True), start=1):
        safe = re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-")
        paths.append(folder / (f"{number:02}-{safe}".rstrip("-") + ".png"))
        save(image, paths[-1])
    return paths


def _lead(pictures: Sequence[Picture]) -> str:
    count = len(pictures)
    return f"SqueezeNet 1.1, asked about {count} picture{'s' if count > 1 else ''}."


def _written(report: Report, folder: Path) -> Path:
    path = folder / PAGE
    pages.write(report, path)
    return path


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
