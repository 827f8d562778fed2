"""Training reports: what the pages about a run have in common, whatever the app."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from apps import report as pages
from apps.report import Command, Plot, Report, Section, draw_curves
from apps.run_folder import RunFolder
from apps.settings import Settings, settings_of
from apps.tables import Table

State = Literal["training", "stopped", "finished"]
Metrics = Sequence[Mapping[str, Any]]
Curves = Mapping[str, Mapping[float, float]]  # by name and epoch

REPORT_FILE = "report.html"
REFRESH = 10  # seconds until a page about something unfinished looks for news

PLOT_SIZE = (6.0, 3.4)  # inches; so small that its letters can be read on a phone
PLOT_BOX = (0.14, 0.16, 0.84, 0.8)  # left, bottom, width, height: of the figure's
MOST_DRAWN = 1e100

# Metrics that are not plotted.
NO_SCORES = ("epoch", "step", "per_second", "start_loss")
# A loss above this fraction of the first one counts as unchanged.
NOTHING_LEARNED = 0.99
CURVE_NAMES = {"loss": "training loss", "val_loss": "validation loss"}


@dataclass(frozen=True)
class Story:
    """The parts of a run's report that differ between apps.

    `use` is the command of `app` that uses what was trained, `targets` what the loss
    compares with; `facts` and `results` are what is known so far; `sizes` describes
    the data and the network.
    """

    app: str
    use: str
    title: str
    lead: str
    unit: str
    targets: str
    settings: type[Settings]
    facts: Sequence[tuple[str, str]] = ()
    results: Sequence[Section] = ()
    sizes: str = ""


def write(run: RunFolder, state: State, story: Story) -> Path:
    """Write `report.html` into a run's folder; it reloads itself while training."""
    config, metrics = run.config(), run.metrics()
    epochs = config["epochs"]
    sections = [
        *story.results,
        _learning(metrics, epochs, story.targets),
        _settings(config, story),
        _commands(run.path, state, story),
    ]
    report = Report(
        story.title,
        sections,
        story.lead,
        _status(state, metrics, epochs),
        [*story.facts, *_facts(metrics, story.unit)],
        refresh=REFRESH if state == "training" else None,
    )
    path = run.path / REPORT_FILE
    with run.saving(path):
        pages.write(report, path)
    return path


def _status(state: State, metrics: Metrics, epochs: int) -> str:
    now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    done = max((record["epoch"] for record in metrics), default=0)
    if state == "finished":
        return f"finished on {now}, after {epochs} epochs"
    if state == "stopped":
        return f"stopped on {now}: {done} of {epochs} epochs are done"
    return f"training: {done} of {epochs} epochs are done, as of {now}"


def _logged(metrics: Metrics, name: str) -> list[Any]:
    return [record[name] for record in metrics if name in record]


def _facts(metrics: Metrics, unit: str) -> list[tuple[str, str]]:
    losses, speeds = _logged(metrics, "loss"), _logged(metrics, "per_second")
    name = f"{unit} a second in training"
    return [
        *(("training loss", f"{loss:.3g}") for loss in losses[-1:]),
        *((name, f"{speed:,.0f}") for speed in speeds[-1:]),
    ]


def learned_nothing(metrics: Metrics) -> str:
    """A warning if the loss ended where it began, else ""."""
    starts, losses = _logged(metrics, "start_loss"), _logged(metrics, "loss")
    if not starts or not losses or losses[-1] < NOTHING_LEARNED * starts[0]:
        return ""
    return (
        f"The loss ended at {losses[-1]:.3g}, where it began ({starts[0]:.3g}): "
        "nothing was learned. Try a smaller --lr in a new run, or more --epochs."
    )


def _learning(metrics: Metrics, epochs: int, targets: str) -> Section:
    text = (
        f"The loss says how unlikely the network finds {targets}; learning lowers it. "
        "Each point is the mean over one epoch."
    )
    plots = plot_run(metrics, epochs)
    if not plots:
        text = "The first epoch is not over yet; the loss curve begins with it."
    text = f"{text} {learned_nothing(metrics)}".strip()
    return Section("How it learned", text, plots)


def _settings(config: Mapping[str, Any], story: Story) -> Section:
    found = [*_meant(config, story.settings)]
    rows = [(name, value) for name, value, _ in found]
    table = Table(("setting", "value"), rows, [note for _, _, note in found])
    return Section("Settings", story.sizes, [table])


def _meant(
    config: Mapping[str, Any], kind: type[Settings]
) -> Iterator[tuple[str, str, str]]:
    """The settings that had an effect, each with its value and what it means."""
    declared = {of.name: of for of in settings_of(kind)}
    for name, value in config.items():
        of = declared.get(name)
        if not of:
            yield name, str(value), ""
        elif of.inner:
            yield from _meant(value, of.inner)
        elif of.has_effect(config):
            said = of.told if value is None and of.told else str(value)
            yield name, said, of.help


def _commands(path: Path, state: State, story: Story) -> Section:
    run, command = shlex.quote(str(path)), f"minigrad {story.app}"
    use = Command(f"{command} {story.use.format(run)}")
    if state == "finished":
        again = Command(f"{command} evaluate {run}")
        return Section("More", "Use it, or score it again:", [use, again])
    text = "Go on if training has stopped, or use what it has learned so far:"
    return Section("More", text, [Command(f"{command} train --resume {run}"), use])


# -- curves ------------------------------------------------------------------------


def plot_run(metrics: Metrics, epochs: int) -> list[Plot]:
    """Plot the losses that a run logged, and scores logged at several epochs."""
    names = dict.fromkeys(name for record in metrics for name in record)
    curves = {name: _curve(metrics, name) for name in names if name not in NO_SCORES}
    losses = {n: xy for n, xy in curves.items() if xy and n.endswith("loss")}
    scores = {n: xy for n, xy in curves.items() if n not in losses and len(xy) > 1}
    return [
        Plot(name, _draw(label, some, epochs), _told(some), note)
        for name, label, some, note in (
            ("loss", "loss", losses, "Less is better."),
            ("scores", "score", scores, "More is better."),
        )
        if some
    ]


def _curve(metrics: Metrics, name: str) -> dict[float, float]:
    """A metric by epoch, the last value of several; a gap where it cannot be drawn."""
    found = {r["epoch"]: r[name] for r in metrics if name in r}
    return {
        epoch: value if abs(value) < MOST_DRAWN else math.nan
        for epoch, value in found.items()
        if isinstance(value, int | float)
    }


def _draw(label: str, curves: Curves, epochs: int) -> Figure:
    # Margins with room for six digits; a layout engine would draw everything twice.
    figure = Figure(figsize=PLOT_SIZE)
    axis = figure.add_axes(PLOT_BOX)
    draw_curves(axis, {_curve_name(name): xy for name, xy in curves.items()})
    axis.set_xlabel("epoch (once through the training data)", fontsize=11)
    axis.set_ylabel(label, fontsize=11)
    # All epochs, so that the eye sees how many are done.
    axis.set_xlim(0.5, max(epochs, *map(max, curves.values())) + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.tick_params(labelsize=11)
    axis.legend(frameon=False, fontsize=11)
    return figure


def _curve_name(name: str) -> str:
    return CURVE_NAMES.get(name, name.replace("val_", "validation ").replace("_", " "))


def _told(curves: Curves) -> str:
    told = []
    for name, points in curves.items():
        ends = min(points), max(points)
        told_ends = ", ".join(f"{points[n]:.3g} after epoch {n}" for n in ends)
        told.append(f"{_curve_name(name)}: {told_ends}")
    return "; ".join(told)
