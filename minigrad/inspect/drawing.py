"""A drawing of the tape as SVG, laid out without another program."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path

from minigrad.inspect.table import Row, explain, rows_of, shape_text
from minigrad.io.files import replacing
from minigrad.tensor import Tensor


class Drawing:
    """A picture of a tape: `.dot` for Graphviz, `.svg`, and a `.html` page."""

    WIDTH, HEIGHT, GAP_X, GAP_Y = 150, 40, 24, 40

    def __init__(self, rows: list[Row], table: str) -> None:
        self.rows = rows
        self.table = table

    @property
    def dot(self) -> str:
        """Graphviz source."""
        lines = ["digraph tape {", '  node [shape=box, style="rounded"];']
        for row in self.rows:
            label = f"{row.name}\\n{shape_text(row.shape)}"
            lines.append(f'  e{row.order} [label="{label}"];')
            lines += [f"  e{source} -> e{row.order};" for source in row.inputs]
        return "\n".join([*lines, "}"])

    @property
    def svg(self) -> str:
        """A self-contained SVG: oldest entries on top, arrows in forward direction."""
        positions = self._positions()
        width = max(x for x, _ in positions.values()) + self.WIDTH + self.GAP_X
        height = max(y for _, y in positions.values()) + self.HEIGHT + self.GAP_Y
        body = [self._edge(positions, s, r.order) for r in self.rows for s in r.inputs]
        body += [self._node(row, *positions[row.order]) for row in self.rows]
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
            f"<h1>The tape</h1>{self.svg}<pre>{escape(self.table)}</pre></body></html>"
        )

    def save(self, path: str | Path) -> Path:
        """Write the picture in the format that the path's ending names.

        Raises:
            ValueError: the ending is not .dot, .svg or .html.
        """
        path = Path(path)
        if path.suffix not in (".dot", ".svg", ".html"):
            raise ValueError(
                f"cannot draw into {path.name!r}: the ending says the format. Use "
                ".svg, .html or .dot."
            )
        with (
            replacing(path) as temporary,
            open(temporary, "w", encoding="utf-8") as file,
        ):
            file.write(getattr(self, path.suffix[1:]))
        return path

    def _repr_svg_(self) -> str:
        return self.svg

    def _positions(self) -> dict[int, tuple[float, float]]:
        """Layers by longest path; within a layer, below the mean of the sources."""
        layer: dict[int, int] = {}
        for row in self.rows:
            layer[row.order] = max((layer[s] + 1 for s in row.inputs), default=0)
        uses = {s: row.order for row in reversed(self.rows) for s in row.inputs}
        for row in self.rows:  # a leaf stands just above its first use
            if not row.inputs and row.order in uses:
                layer[row.order] = max(layer[uses[row.order]] - 1, 0)
        positions: dict[int, tuple[float, float]] = {}
        sizes = Counter(layer.values())
        for depth in sorted(sizes):
            members = [row for row in self.rows if layer[row.order] == depth]
            members.sort(key=lambda row: _mean_x(row, positions))
            start = (max(sizes.values()) - len(members)) / 2
            for i, row in enumerate(members):
                x = self.GAP_X + (start + i) * (self.WIDTH + self.GAP_X)
                y = self.GAP_Y + depth * (self.HEIGHT + self.GAP_Y)
                positions[row.order] = (x, y)
        return positions

    def _node(self, row: Row, x: float, y: float) -> str:
        fill = "#e8f0fe" if row.name == "leaf" else "#ffffff"
        middle = x + self.WIDTH / 2
        kept = f"; keeps {row.kept_bytes:,} bytes" if row.kept_bytes else ""
        title = escape(f"entry {row.order}{kept}; {'; '.join(row.kept)} {row.line}")
        return (
            f'<g><title>{title}</title><rect x="{x:.1f}" y="{y}" width="{self.WIDTH}" '
            f'height="{self.HEIGHT}" rx="6" fill="{fill}" stroke="#445"/>'
            f'<text x="{middle:.1f}" y="{y + 17}" text-anchor="middle" '
            f'font-weight="bold">{escape(row.name)}</text>'
            f'<text x="{middle:.1f}" y="{y + 32}" text-anchor="middle" fill="#556">'
            f"{escape(shape_text(row.shape))}</text></g>"
        )

    def _edge(self, positions: dict[int, tuple[float, float]], a: int, b: int) -> str:
        x1, y1 = positions[a][0] + self.WIDTH / 2, positions[a][1] + self.HEIGHT
        x2, y2 = positions[b][0] + self.WIDTH / 2, positions[b][1]
        bend = (y1 + y2) / 2
        return (
            f'<path d="M{x1:.1f} {y1}C{x1:.1f} {bend} {x2:.1f} {bend} {x2:.1f} {y2}" '
            'fill="none" stroke="#667" marker-end="url(#tip)"/>'
        )


def _mean_x(row: Row, positions: dict[int, tuple[float, float]]) -> float:
    known = [positions[source][0] for source in row.inputs if source in positions]
    return sum(known) / len(known) if known else 0.0


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
