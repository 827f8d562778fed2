"""Reports of benchmarks: Markdown tables, or JSON with every round."""

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from benchmarks.harness import Results, Row, ratios
from benchmarks.targets import TARGETS, Target
from benchmarks.works import BY_NAME

UNITS = {"us": 1e6, "ms": 1e3}
METHOD = """\
Each figure is the median over the rounds of a child's median step, with its least and
greatest round; the ratio is the median over the rounds of the time divided by that of
PyTorch's fastest row. Memory is the most that was resident (VmHWM, reset through
/proc/self/clear_refs) less what was resident once the framework was imported, had done
a tiny problem of the same kind, and the common data were made: parameters, optimiser
and step are in it, and so is what JAX takes to compile. All start from the same values,
and the numbers of the first three steps agree to 1e-4."""


def markdown(results: Results) -> str:
    """Return the whole report."""
    parts = [
        setting(results),
        "### Measured\n\n" + measured_table(results),
        METHOD,
        "### Targets, nothing compiled\n\n" + target_table(results, TARGETS),
        troubles(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def setting(results: Results) -> str:
    """Return the machine, the frameworks' versions and kernels, and who is missing."""
    about = ", ".join(f"{key} {value}" for key, value in results.machine.items())
    lines = [f"Machine: {about}.", ""]
    rows = [(n, o["version"], o["kernels"]) for n, o in results.peers.items()]
    rows += [(name, "not there", why) for name, why in results.missing.items()]
    return "\n".join(lines) + "\n" + table(("framework", "version", "kernels"), rows)


def measured_table(results: Results) -> str:
    """Return a line for each framework at each work."""
    header = ("work", "framework", "median", "spread", "to PyTorch", "peak MB")
    rows = [measured_line(results, row) for row in results.rows if row.seconds]
    return table(header, without_repeats(rows))


def measured_line(results: Results, row: Row) -> tuple[str, ...]:
    """Return one row's cells."""
    work = BY_NAME[row.work]
    scale = UNITS[work.unit]
    reference = results.best_reference(row.work)
    spread = f"{number(min(row.seconds) * scale)}-{number(max(row.seconds) * scale)}"
    return (
        work.title,
        row.label,
        f"{number(row.median() * scale)} {work.unit}",
        spread,
        f"{median(ratios(row, reference)):.2f}" if reference else "-",
        f"{row.median('memory') / 1e6:.1f}",
    )


def target_table(results: Results, targets: Iterable[Target]) -> str:
    """Return a line for each target: wanted, found, and whether it is met."""
    rows = []
    for target in targets:
        verdict = target.judge(results)
        found, spread = "-", verdict.reason
        if verdict.ratios:
            found = f"{verdict.median:.2f}"
            spread = f"{min(verdict.ratios):.2f}-{max(verdict.ratios):.2f}"
        limit = f"<= {target.limit:g}"
        rows.append((target.title, limit, found, spread, verdict.status))
    return table(("target", "wanted", "ratio", "spread", "verdict"), rows)


def troubles(results: Results) -> str:
    """Return what went wrong, one line each."""
    rows = (row for row in results.rows if row.trouble)
    lines = [f"- {row.label} at {row.work}: {row.trouble}" for row in rows]
    return "\n".join(["### Left out", "", *lines]) if lines else ""


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table with its columns aligned."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines
    )


def without_repeats(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Blank the first cell where it says the same as in the line above."""
    above = ["", *(row[0] for row in rows)]
    return [
        ("" if row[0] == previous else row[0], *row[1:])
        for row, previous in zip(rows, above, strict=False)
    ]


def number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def as_json(results: Results) -> str:
    """Return everything, round by round, and the verdicts."""
    verdicts = {
        target.title: dataclasses.asdict(target.judge(results)) for target in TARGETS
    }
    return json.dumps(dataclasses.asdict(results) | {"targets": verdicts}, indent=1)


def write(results: Results, path: Path) -> None:
    """Write the report by the name's suffix: .json, or else Markdown."""
    text = as_json(results) if path.suffix == ".json" else markdown(results)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
