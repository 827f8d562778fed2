"""What is on the tape, what does it cost, and where did the first NaN come from?

`explain` prints the tape, `draw` pictures it, `profile` measures it; `record_lines` and
`detect_anomaly` are modes in which each entry also remembers the user's line.
"""

from __future__ import annotations

import linecache
import os
import sys
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import backend
from minigrad.tape import Entry, Item, Scope, Tensor
from minigrad.tape.writes import owner_of

ROOT = Path(__file__).parents[1]
OURS = tuple(f"{ROOT / name}{os.sep}" for name in ("minigrad", "nn"))


# -- the user's line ---------------------------------------------------------------


def users_line() -> str:
    """The innermost line outside minigrad and nn, as "file:number: code"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    code = linecache.getline(file, number).strip()
    return f"{Path(file).name}:{number}: {code}"


class _Lines:
    """Watches recording and notes on each entry the line that asked for it."""

    every_gradient = False  # the walk may add gradients up without showing each

    def forward(
        self, made: Any, entry: Entry | None, arrays: Any, result: Any, seconds: float
    ) -> None:
        if entry is not None:
            entry.note("line", users_line())

    def backward(self, entry: Entry, g: Any, handed: Any, seconds: float) -> None:
        """Nothing is noted on the way back."""

    def line(self) -> str:
        """The user's line now, for a write in place."""
        return users_line()


def record_lines() -> Scope:
    """Make each entry remember the user's line, inside a ``with``."""
    return Scope(observer=_Lines())


# -- the first NaN -----------------------------------------------------------------


class _Anomaly(_Lines):
    """Watches for the first value that is not finite."""

    every_gradient = True

    def forward(
        self, made: Any, entry: Entry | None, arrays: Any, result: Any, seconds: float
    ) -> None:
        super().forward(made, entry, arrays, result, seconds)
        bad = _first_bad(result)
        if bad is None:
            return
        arrived = any(_first_bad(x) is not None for x in arrays)
        came = (
            "An operand held such a value already"
            if arrived
            else "Its operands are finite"
        )
        raise FloatingPointError(
            f"the output of {made.name} holds {bad}, recorded at {users_line()}. "
            f"{came}: "
            "look at their values there, for example for a division by 0, the "
            "logarithm "
            "of 0 or an overflow."
        )

    def backward(self, entry: Entry, g: Any, handed: Any, seconds: float) -> None:
        for parent, gradient in handed:
            value = gradient.array if isinstance(gradient, Tensor) else gradient
            bad = _first_bad(value)
            if bad is not None:
                line = (entry.notes or {}).get("line", "an unknown line")
                raise FloatingPointError(
                    f"the gradient that {entry.name} (entry {entry.order}) hands to "
                    "its "
                    f"{parent.name} of shape {parent.shape} holds {bad}; it was "
                    "recorded "
                    f"at {line}. Its slope is not finite there: keep its operand away "
                    "from that point, for example with clip or a small constant added."
                )


def _first_bad(value: Any) -> str | None:
    """The first NaN or infinity of one or several arrays, told with its index."""
    if isinstance(value, list):
        return next((bad for bad in map(_first_bad, value) if bad), None)
    array = np.asarray(value) if np.isscalar(value) else value
    if array.dtype.kind not in "fc" or bool(np.isfinite(array).all()):
        return None
    host = backend.to_numpy(array)
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
    return f"{host[place]} at index {place}"


def detect_anomaly() -> Scope:
    """Inside, the first NaN or infinity raises, naming operation and user's line.

    Covers outputs and gradients; wrap both the forward and the backward.

    Raises:
        FloatingPointError: on leaving the first operation that produced one.
    """
    return Scope(observer=_Anomaly())


# -- the tape as a table -----------------------------------------------------------


class Row(NamedTuple):
    """One entry, as the table and the drawing show it."""

    order: int
    name: str
    inputs: tuple[int, ...]
    shape: Any
    dtype: str
    kept: tuple[str, ...]
    kept_bytes: int
    line: str


def tape_of(output: Tensor) -> list[Entry]:
    """All entries that `output` was made from, oldest first.

    Raises:
        RuntimeError: nothing was recorded, or the tape was walked already.
    """
    if output.entry is None:
        raise RuntimeError(
            "there is no tape behind this tensor: no operand required gradients, or it "
            "was computed inside no_grad(). Compute it from a Tensor made with "
            "requires_grad=True."
        )
    found: dict[int, Entry] = {}
    waiting = [output.entry]
    while waiting:
        entry = waiting.pop()
        if entry.order in found:
            continue
        found[entry.order] = entry
        waiting.extend(p for p in entry.parents or () if p is not None)
    return [found[order] for order in sorted(found)]


def rows_of(output: Tensor) -> list[Row]:
    """The tape behind `output` as rows, oldest first."""
    return [_row(entry) for entry in tape_of(output)]


def _row(entry: Entry) -> Row:
    kept = [] if entry.parents is None else _kept(entry)
    return Row(
        entry.order,
        entry.name,
        tuple(p.order for p in entry.parents or () if p is not None),
        entry.shape,
        str(entry.dtype),
        ("(walked and freed)",) if entry.parents is None else tuple(w for w, _ in kept),
        sum(n for _, n in kept),
        (entry.notes or {}).get("line", ""),
    )


def _kept(entry: Entry) -> list[tuple[str, int]]:
    """What an entry keeps, with the operands whose gradient needs it, and its bytes."""
    result = []
    for i, array in enumerate(entry.operands):
        if backend.is_array(array):
            result.append((f"{_name(entry, i)} for {_readers(entry, i)}", array.nbytes))
    if entry.output is not None:
        result.append((f"y for {_readers(entry, None)}", entry.output.nbytes))
    return result


def _name(entry: Entry, i: int) -> str:
    names = entry.primitive.operand_names if entry.primitive else []
    return (
        names[i] if i < len(names) and not entry.primitive.sequence else f"operand {i}"
    )


def _readers(entry: Entry, kept: int | None) -> str:
    """The operands whose rule reads what is kept (None: the output)."""
    if entry.primitive is None or entry.primitive.joint is not None:
        return "all"
    readers = [
        f"d{_name(entry, i)}"
        for i, pull in enumerate(entry.primitive.pulls)
        if pull and entry.parents[i] is not None and pull.names(kept)
    ]
    return ", ".join(readers)


def kept_bytes(output: Tensor) -> int:
    """Bytes that the tape behind `output` keeps alive, each array counted once."""
    owners = {}
    for entry in tape_of(output):
        for array in (*(entry.operands or ()), entry.output):
            if backend.is_array(array):
                owner = owner_of(array)
                owners[id(owner)] = owner.nbytes
    return sum(owners.values())


def explain(output: Tensor) -> str:
    """The tape behind `output` as a table: print it.

    Columns: creation number, operation, the entries it came from, shape and dtype,
    bytes kept, what is kept and for which operand's gradient, and the user's line where
    `record_lines` was on.
    """
    rows = rows_of(output)
    header = ("entry", "operation", "from", "shape", "dtype", "bytes", "keeps", "line")
    cells = [
        (
            str(row.order),
            row.name,
            " ".join(map(str, row.inputs)),
            _shape_text(row.shape),
            row.dtype,
            str(row.kept_bytes or ""),
            "; ".join(row.kept),
            row.line,
        )
        for row in rows
    ]
    total = f"{len(rows)} entries keep {kept_bytes(output):,} bytes alive"
    return f"{_table(header, cells)}\n{total}"


def _shape_text(shape: Any) -> str:
    if shape and isinstance(shape[0], tuple):
        return f"{len(shape)} x {shape[0]}"
    return str(tuple(shape))


def _table(header: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> str:
    """Columns padded to their widest cell; columns without content are left out."""
    used = [i for i in range(len(header)) if any(row[i] for row in cells)]
    widths = [max(len(row[i]) for row in (header, *cells)) for i in used]
    lines = [
        "  ".join(row[i].ljust(w) for i, w in zip(used, widths, strict=True)).rstrip()
        for row in (header, *cells)
    ]
    return "\n".join(lines)


# -- the tape as a picture ---------------------------------------------------------


class Drawing:
    """A picture of a tape: `.dot` for Graphviz, `.svg`, and a `.html` page."""

    WIDTH, HEIGHT, GAP_X, GAP_Y = 150, 40, 24, 40

    def __init__(self, rows: list[Row], table: str) -> None:
        self.rows = rows
        self.table = table

    @property
    def dot(self) -> str:
        """Graphviz source."""
        lines = [
            "digraph tape {",
            "  rankdir=TB;",
            '  node [shape=box, style="rounded"];',
        ]
        for row in self.rows:
            label = f"{row.name}\\n{_shape_text(row.shape)}"
            lines.append(f'  e{row.order} [label="{label}"];')
            lines += [f"  e{source} -> e{row.order};" for source in row.inputs]
        return "\n".join([*lines, "}"])

    @property
    def svg(self) -> str:
        """A self-contained SVG: oldest entries on top, arrows in forward direction."""
        places = self._places()
        width = max(x for x, _ in places.values()) + self.WIDTH + self.GAP_X
        height = max(y for _, y in places.values()) + self.HEIGHT + self.GAP_Y
        body = [self._edge(places, s, r.order) for r in self.rows for s in r.inputs]
        body += [self._node(row, *places[row.order]) for row in self.rows]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
            f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
            'font-family="sans-serif" font-size="12">'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
            'markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="#667"/>'
            f"</marker></defs>{''.join(body)}</svg>"
        )

    @property
    def html(self) -> str:
        """A page with the picture and the table."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            "<title>The tape</title></head><body style='font-family:sans-serif'>"
            f"<h1>The tape</h1>{self.svg}<pre>{_escape(self.table)}</pre></body></html>"
        )

    def save(self, path: str | Path) -> Path:
        """Write the picture in the format that the path's ending names.

        Raises:
            ValueError: the ending is not .dot, .svg or .html.
        """
        path = Path(path)
        formats = {".dot": "dot", ".svg": "svg", ".html": "html"}
        if path.suffix not in formats:
            raise ValueError(
                f"cannot draw into {path.name!r}: the ending says the format. Use "
                ".svg, "
                ".html or .dot."
            )
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(getattr(self, formats[path.suffix]), encoding="utf-8")
        temporary.replace(path)
        return path

    def _repr_svg_(self) -> str:
        return self.svg

    def _places(self) -> dict[int, tuple[float, float]]:
        """Layers by longest path; within a layer, below the mean of the sources."""
        layer: dict[int, int] = {}
        for row in self.rows:
            layer[row.order] = max((layer[s] + 1 for s in row.inputs), default=0)
        uses = {s: row.order for row in reversed(self.rows) for s in row.inputs}
        for row in self.rows:  # a leaf stands just above its first use
            if not row.inputs and row.order in uses:
                layer[row.order] = max(layer[uses[row.order]] - 1, 0)
        members: dict[int, list[Row]] = {}
        for row in self.rows:
            members.setdefault(layer[row.order], []).append(row)
        return self._spread(members)

    def _spread(self, members: dict[int, list[Row]]) -> dict[int, tuple[float, float]]:
        places: dict[int, tuple[float, float]] = {}
        widest = max(map(len, members.values()))
        for depth in sorted(members):
            rows = sorted(members[depth], key=lambda row: _mean_x(row, places))
            left = (widest - len(rows)) * (self.WIDTH + self.GAP_X) / 2 + self.GAP_X
            for i, row in enumerate(rows):
                x = left + i * (self.WIDTH + self.GAP_X)
                places[row.order] = (x, self.GAP_Y + depth * (self.HEIGHT + self.GAP_Y))
        return places

    def _node(self, row: Row, x: float, y: float) -> str:
        fill = "#e8f0fe" if row.name == "leaf" else "#ffffff"
        middle = x + self.WIDTH / 2
        kept = f"; keeps {row.kept_bytes:,} bytes" if row.kept_bytes else ""
        title = _escape(f"entry {row.order}{kept}; {'; '.join(row.kept)} {row.line}")
        return (
            f'<g><title>{title}</title><rect x="{x:.1f}" y="{y}" width="{self.WIDTH}" '
            f'height="{self.HEIGHT}" rx="6" fill="{fill}" stroke="#445"/>'
            f'<text x="{middle:.1f}" y="{y + 17}" text-anchor="middle" '
            f'font-weight="bold">{_escape(row.name)}</text>'
            f'<text x="{middle:.1f}" y="{y + 32}" text-anchor="middle" fill="#556">'
            f"{_escape(_shape_text(row.shape))}</text></g>"
        )

    def _edge(self, places: dict[int, tuple[float, float]], a: int, b: int) -> str:
        x1, y1 = places[a][0] + self.WIDTH / 2, places[a][1] + self.HEIGHT
        x2, y2 = places[b][0] + self.WIDTH / 2, places[b][1]
        bend = (y1 + y2) / 2
        return (
            f'<path d="M{x1:.1f} {y1}C{x1:.1f} {bend} {x2:.1f} {bend} {x2:.1f} {y2}" '
            'fill="none" stroke="#667" marker-end="url(#tip)"/>'
        )


def _mean_x(row: Row, places: dict[int, tuple[float, float]]) -> float:
    known = [places[source][0] for source in row.inputs if source in places]
    return sum(known) / len(known) if known else 0.0


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def draw(output: Tensor, path: str | Path | None = None, most: int = 400) -> Drawing:
    """Picture the tape behind `output`; with `path`, save it (.svg, .html or .dot).

    Raises:
        ValueError: the tape has more than `most` entries, or the ending is unknown.
    """
    rows = rows_of(output)
    if len(rows) > most:
        raise ValueError(
            f"the tape has {len(rows)} entries, too many for a readable picture (most="
            f"{most}). Draw a smaller case, for example fewer time steps, or raise "
            "most."
        )
    drawing = Drawing(rows, explain(output))
    if path is not None:
        drawing.save(path)
    return drawing


# -- the tape's cost ---------------------------------------------------------------


class Event(NamedTuple):
    """One operation forward, or one entry backward."""

    phase: str
    name: str
    order: int | None
    seconds: float
    live_bytes: int


class Profile:
    """Time and live bytes of each operation, forward and backward: print it.

    Live bytes are those of the arrays that operations and rules made and that are still
    held by somebody at that moment.
    """

    every_gradient = False

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.live = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def forward(
        self, made: Any, entry: Entry | None, arrays: Any, result: Any, seconds: float
    ) -> None:
        """Called by the tape after each operation."""
        for array in result if isinstance(result, list) else [result]:
            self._track(array)
        order = entry.order if entry is not None else None
        self.events.append(Event("forward", made.name, order, seconds, self.live))

    def backward(self, entry: Entry, g: Any, handed: Any, seconds: float) -> None:
        """Called by the tape after each entry's rules."""
        for _, gradient in handed:
            self._track(gradient.array if isinstance(gradient, Tensor) else gradient)
        event = Event("backward", entry.name, entry.order, seconds, self.live)
        self.events.append(event)

    def _track(self, array: Any) -> None:
        """Count an array until it dies; views count for nothing of their own."""
        owner = owner_of(array)
        if not backend.is_array(owner) or id(owner) in self._seen:
            return
        key, size = id(owner), owner.nbytes
        self.live += size

        def died(_: Any) -> None:
            self.live -= size
            self._seen.pop(key, None)

        self._seen[key] = weakref.ref(owner, died)

    @property
    def peak_bytes(self) -> int:
        """The most bytes that were alive at once."""
        return max((event.live_bytes for event in self.events), default=0)

    def __str__(self) -> str:
        """A row an operation, dearest first."""
        spent: Counter[str] = Counter()
        cells = []
        for event in self.events:
            spent[event.name] += event.seconds  # type: ignore[assignment]
        for name, _ in spent.most_common():
            ahead = [e for e in self.events if (e.name, e.phase) == (name, "forward")]
            back = [e for e in self.events if (e.name, e.phase) == (name, "backward")]
            cells.append(
                (
                    name,
                    str(len(ahead)),
                    _milliseconds(ahead),
                    str(len(back)),
                    _milliseconds(back),
                    f"{max(e.live_bytes for e in (*ahead, *back)):,}",
                )
            )
        header = (
            "operation",
            "calls",
            "forward ms",
            "walked",
            "backward ms",
            "live bytes",
        )
        return f"{_table(header, cells)}\npeak: {self.peak_bytes:,} live bytes"


def _milliseconds(events: list[Event]) -> str:
    return f"{1000 * sum(event.seconds for event in events):.3f}"


def profile() -> Scope:
    """Measure what is recorded and walked, inside a ``with``."""
    return Scope(observer=Profile())


__all__ = [
    "Drawing",
    "Item",
    "Profile",
    "Row",
    "detect_anomaly",
    "draw",
    "explain",
    "kept_bytes",
    "profile",
    "record_lines",
    "rows_of",
    "tape_of",
]
