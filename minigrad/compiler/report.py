"""Reports of a compiled step: its instructions, and what each pass has changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from minigrad.compiler.passes import Change
from minigrad.compiler.program import Instruction, Program, primitive_of
from minigrad.compiler.replay import Replay
from minigrad.inspect.table import table_text
from minigrad.ops.linalg import matmul

Rows = list[tuple[str, ...]]
MATMUL = primitive_of(matmul)


class Report:
    """A table that prints as text, and that notebooks show as HTML."""

    header: tuple[str, ...]
    title: str

    def rows(self) -> Rows:
        """The cells, row by row."""
        raise NotImplementedError

    def __str__(self) -> str:
        return table_text(self.header, self.rows())

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "\n".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
            for row in self.rows()
        )
        return f"<table><tr>{head}</tr>\n{body}</table>"

    def save(self, path: str | Path) -> None:
        """Write the table as an HTML page."""
        style = (
            "body { font: 14px sans-serif } td, th { text-align: left; "
            "padding: 2px 12px; font-family: monospace }"
        )
        Path(path).write_text(
            f'<!doctype html><meta charset="utf-8"><title>{self.title}</title>'
            f"<style>{style}</style><h1>{self.title}</h1>{self._repr_html_()}",
            encoding="utf-8",
        )


class Listing(Report):
    """The instructions of a program, with bytes, floating-point operations and time."""

    header = ("instruction", "bytes", "FLOPs", "us", "line")
    title = "Compiled step"

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.body = replay.program.body

    def rows(self) -> Rows:
        """A row an instruction; the time where the step was measured."""
        program, seconds = self.replay.program, self.replay.seconds
        cells = [self._row(program, instruction) for instruction in self.body]
        times = [f"{1e6 * s:.1f}" for s in seconds] or [""] * len(cells)
        return [
            (*row[:3], time, row[3]) for row, time in zip(cells, times, strict=True)
        ]

    def _row(self, program: Program, instruction: Instruction) -> tuple[str, ...]:
        owned = [
            program.values[number].nbytes
            for i, number in enumerate(instruction.results)
            if number is not None and not any(instruction.shares[i : i + 1])
        ]
        flops = flops_of(program, instruction)
        return (
            program.line_of(instruction),
            f"{sum(owned):,}" if owned else "",
            f"{flops:,}" if flops else "",
            instruction.line,
        )


def flops_of(program: Program, instruction: Instruction) -> int:
    """Floating-point operations: of a product 2 n m k, of others one an element."""
    shapes = [program.values[x].shape for x in instruction.gives]
    sizes = [math.prod(shape) for shape in shapes]
    if instruction.primitive is MATMUL and instruction.reads and sizes:
        left = program.values[instruction.reads[0]].shape
        return 2 * sizes[0] * left[-1]
    moves = any(x is not None for x in instruction.shares)
    return 0 if moves else sum(sizes)


class Explanation(Report):
    """What each pass has taken away, and how much memory is planned."""

    header = ("pass", "before", "after")
    title = "What the passes changed"

    def __init__(self, changes: Sequence[Change], replay: Replay) -> None:
        self.changes = changes
        self.replay = replay

    def rows(self) -> Rows:
        """A row a pass; then the memory, before and after it is used again."""
        rows = [(name, str(before), str(after)) for name, before, after in self.changes]
        program = self.replay.program
        roots = {n for n, root in program.roots().items() if n == root}
        planned = roots & self.replay.plan.arrays.keys()
        once = sum(program.values[n].nbytes for n in planned)
        return [
            *rows,
            ("bytes of buffers", f"{once:,}", f"{self.replay.plan.nbytes:,}"),
        ]
