"""Tables: rows of texts, on a page or on a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import rich.table
from rich.console import Console, JustifyMethod

NUMBER = re.compile(r"[-+−]?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?( ?%)?|nan|[-+−]?inf|–?")


@dataclass(frozen=True)
class Table:
    """Rows of texts; the first text of a row is its name, its note an explanation.

    Raises: ValueError if the rows differ in length, or a row has no note.
    """

    kind: ClassVar[str] = "table"
    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        lengths = {len(row) for row in (self.heading, *self.rows) if row}
        if len(lengths) > 1:
            raise ValueError(
                f"the rows of a table have {sorted(lengths)} texts; give each row, and "
                "the heading if there is one, as many as the others."
            )
        if self.notes and len(self.notes) != len(self.rows):
            raise ValueError(
                f"a table of {len(self.rows)} rows has {len(self.notes)} notes; give "
                "one note a row, an empty one where there is nothing to explain."
            )

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers only."""
        columns = zip(*self.rows, strict=True)
        return [all(map(NUMBER.fullmatch, column)) for column in columns]


def side_by_side(columns: Mapping[str, Mapping[str, str]]) -> Table:
    """A table of columns by their heading, each with a text for every row."""
    names = next(iter(columns.values()))
    rows = [(name, *(column[name] for column in columns.values())) for name in names]
    return Table(("", *columns), rows)


def print_table(
    table: Table,
    console: Console,
    title: str = "",
    *,
    right: bool = False,
    lines: bool = False,
) -> None:
    """Print a table; with `right`, all columns but the first are right-aligned."""
    shown = rich.table.Table(title=title or None, title_justify="left")
    shown.show_lines = lines
    for number, heading in enumerate(table.heading):
        justify: JustifyMethod = "right" if right and number else "left"
        # Not cut: an address is of use only as a whole.
        shown.add_column(heading, justify=justify, overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)
