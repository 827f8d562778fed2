"""A table of the tape: what each entry is and keeps alive."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from minigrad import backend
from minigrad.tape import Entry, Vjp
from minigrad.tape.writes import owner_of
from minigrad.tensor import Tensor


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
        RuntimeError: nothing was recorded, or the tape was freed already.
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
        ("(freed)",) if entry.parents is None else tuple(w for w, _ in kept),
        sum(n for _, n in kept),
        (entry.notes or {}).get("line", ""),
    )


def _kept(entry: Entry) -> list[tuple[str, int]]:
    """What an entry keeps, with the operands whose gradient needs it, and its bytes."""
    result = []
    for i, array in enumerate(entry.operands):
        if backend.is_array(array):
            readers = _readers(entry, functools.partial(Vjp.reads_operand, i=i))
            result.append((f"{_name(entry, i)} for {readers}", array.nbytes))
    for i, array in enumerate(entry.results):
        if backend.is_array(array):
            name = ["y", *entry.primitive.residuals][i]
            readers = _readers(entry, functools.partial(Vjp.reads_result, i=i))
            result.append((f"{name} for {readers}", array.nbytes))
    return result


def _name(entry: Entry, i: int) -> str:
    names = entry.primitive.operand_names if entry.primitive else []
    plain = i < len(names) and not entry.primitive.sequence
    return names[i] if plain else f"operand {i}"


def _readers(entry: Entry, reads: Callable[[Any], bool]) -> str:
    """The operands whose rule reads what is kept."""
    if entry.primitive is None or entry.primitive.joint is not None:
        return "all"
    readers = [
        f"d{_name(entry, i)}"
        for i, vjp in enumerate(entry.primitive.vjps)
        if vjp and entry.parents[i] is not None and reads(vjp)
    ]
    return ", ".join(readers)


def kept_bytes(output: Tensor) -> int:
    """Bytes that the tape behind `output` keeps alive, each array counted once."""
    owners = {}
    for entry in tape_of(output):
        for array in (*(entry.operands or ()), *(entry.results or ())):
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
            shape_text(row.shape),
            row.dtype,
            str(row.kept_bytes or ""),
            "; ".join(row.kept),
            row.line,
        )
        for row in rows
    ]
    total = f"{len(rows)} entries keep {kept_bytes(output):,} bytes alive"
    return f"{table_text(header, cells)}\n{total}"


def shape_text(shape: Any) -> str:
    """A shape, or those of an entry with several outputs, in few characters."""
    if shape and isinstance(shape[0], tuple):
        return f"{len(shape)} x {shape[0]}"
    return str(tuple(shape))


def table_text(header: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> str:
    """Columns padded to their widest cell; columns without content are left out."""
    used = [i for i in range(len(header)) if any(row[i] for row in cells)]
    widths = [max(len(row[i]) for row in (header, *cells)) for i in used]
    lines = [
        "  ".join(row[i].ljust(w) for i, w in zip(used, widths, strict=True)).rstrip()
        for row in (header, *cells)
    ]
    return "\n".join(lines)
