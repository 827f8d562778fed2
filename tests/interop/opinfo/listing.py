"""Which differences from PyTorch are known, why, and is each listed sample there?

`differences.txt` says for every operator, module and optimiser how many samples ran in
each dtype, and lists each sample that does not agree by its number, with a reason. It
knows no wildcards: a new sample, one that is gone, a new difference and one that is
mended all fail, and so does an operator of PyTorch's that nobody has looked at.

A line of it is

    reason | what differs | dtypes | numbers of the samples | in words
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).with_name("differences.txt")

# Which kinds of difference a reason may explain. A wrong number has none.
REASONS = {
    "not offered": {"left out", "raises"},
    "convention": {"raises", "results", "dtype", "shape", "value", "gradient"},
    "precision": {"value", "gradient"},
}

HEADER = """\
Where samples of PyTorch's OpInfo, ModuleInfo and OptimizerInfo differ from ours, and
why. Written by `make opinfo ARGS=--update`, which keeps the reasons that stand here and
invents none: add a line by hand for a difference that is new. See listing.py."""

Runs = dict[tuple[str, str], int]


class Place(NamedTuple):
    """One sample."""

    name: str
    dtype: str
    number: int


class Reason(NamedTuple):
    """Why a sample differs, and in what."""

    reason: str
    what: str
    note: str


class Listing(NamedTuple):
    """What `differences.txt` says, or what a run found."""

    runs: Runs
    known: dict[Place, Reason]
    without: list[str]  # of PyTorch's, without a counterpart of ours


# -- reading -----------------------------------------------------------------------


def read(text: str) -> Listing:
    """The listing that a text holds.

    Raises: ValueError, with the line, for one that is not understood.
    """
    listing = Listing({}, {}, [])
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            name = _read_line(line, name, listing)
        except (ValueError, KeyError) as error:
            raise ValueError(f"the list, line {number}: {error}: {line}") from error
    return listing


def _read_line(line: str, name: str, listing: Listing) -> str:
    """Add what one line says; give the heading that lines after it stand under."""
    if not line or line.startswith("#"):
        return name
    if line.startswith("["):
        return line.strip("[]")
    if not name:
        listing.without.extend(line.split())
    elif line.startswith("ran | "):
        for part in line.removeprefix("ran | ").split(", "):
            dtype, count = part.split()
            listing.runs[name, dtype] = int(count)
    else:
        _read_reason(line, name, listing)
    return name


def _read_reason(line: str, name: str, listing: Listing) -> None:
    reason, what, dtypes, numbers, note = line.split(" | ")
    if what not in REASONS[reason]:
        raise ValueError(f"{reason!r} is no reason for another {what}")
    for dtype in dtypes.split():
        for number in _numbers(numbers):
            place = Place(name, dtype, number)
            if place in listing.known:
                raise ValueError(f"sample {number} of {dtype} is listed twice")
            listing.known[place] = Reason(reason, what, note)


def _numbers(text: str) -> Iterator[int]:
    for part in text.split():
        first, dash, last = part.partition("-")
        yield from range(int(first), int(last if dash else first) + 1)


# -- writing -----------------------------------------------------------------------


def write(listing: Listing) -> str:
    """The text of a listing, in order of names."""
    lines = [f"# {line}" for line in HEADER.splitlines()]
    lines += ["", "# No counterpart here:", ""]
    lines += textwrap.wrap(" ".join(sorted(listing.without)), 88)
    for name in sorted({name for name, _ in listing.runs}):
        counts = [f"{d} {n}" for (other, d), n in listing.runs.items() if other == name]
        lines += ["", f"[{name}]", f"ran | {', '.join(counts)}"]
        mine = {p: why for p, why in listing.known.items() if p.name == name}
        lines += lines_of(mine)
    return "\n".join(lines) + "\n"


def lines_of(known: dict[Place, Reason]) -> list[str]:
    """A line for each reason and set of numbers, of all dtypes that have it."""
    groups: dict[tuple[Reason, str], list[int]] = {}
    for place, why in known.items():
        groups.setdefault((why, place.dtype), []).append(place.number)
    joined: dict[tuple[Reason, str], list[str]] = {}
    for (why, dtype), numbers in groups.items():
        joined.setdefault((why, spans(numbers)), []).append(dtype)
    return sorted(
        " | ".join((why.reason, why.what, " ".join(dtypes), numbers, why.note))
        for (why, numbers), dtypes in joined.items()
    )


def spans(numbers: Iterable[int]) -> str:
    """Numbers in order, three and more in a row as first-last."""
    parts: list[list[int]] = []
    for n in sorted(numbers):
        if parts and n == parts[-1][-1] + 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    texts = [
        f"{part[0]}-{part[-1]}" if len(part) > 2 else " ".join(map(str, part))
        for part in parts
    ]
    return " ".join(texts)


def of_names(whole: Listing, names: set[str]) -> Listing:
    """The part of a listing that is about some names."""
    runs = {key: n for key, n in whole.runs.items() if key[0] in names}
    known = {place: why for place, why in whole.known.items() if place.name in names}
    return Listing(runs, known, [])


# -- comparing ---------------------------------------------------------------------


def merged(found: Listing, listed: Listing) -> Listing:
    """What was found, with the reasons that are listed; "?" where there is none.

    What an adapter leaves out gives its own words. A reason goes with the sample and
    with what differs in it.
    """
    known = {}
    for place, why in found.known.items():
        old = listed.known.get(place)
        if why.what != "left out" and old is not None and old.what == why.what:
            why = old
        known[place] = why
    return found._replace(known=known)


def problems(found: Listing, listed: Listing) -> list[str]:
    """What does not stand as it is listed, in words and in lines to be filled in."""
    return [
        *_counts(found.runs, listed.runs),
        *_names(found.without, listed.without),
        *_new(found, listed),
        *_gone(found, listed),
    ]


def _counts(found: Runs, listed: Runs) -> Iterator[str]:
    for key in sorted({*found, *listed}):
        if found.get(key) != listed.get(key):
            ran, expected = found.get(key, "no"), listed.get(key, "none")
            yield f"{' '.join(key)}: {ran} samples ran, {expected} are listed"


def _names(found: list[str], listed: list[str]) -> Iterator[str]:
    for name in sorted({*found} - {*listed}):
        yield f"{name} is new: give it an adapter, or list it as without counterpart"
    for name in sorted({*listed} - {*found}):
        yield f"{name} is listed as without counterpart, but is gone or has one now"


def _new(found: Listing, listed: Listing) -> Iterator[str]:
    new = {p: why for p, why in found.known.items() if not _stands(p, why, listed)}
    for name in sorted({place.name for place in new}):
        lines = lines_of({p: why for p, why in new.items() if p.name == name})
        yield "\n    ".join((f"[{name}] has differences that are not listed:", *lines))


def _stands(place: Place, why: Reason, listed: Listing) -> bool:
    old = listed.known.get(place)
    if why.what == "left out":
        return old == why
    return old is not None and old.what == why.what


def _gone(found: Listing, listed: Listing) -> Iterator[str]:
    """Differences that are mended. Rounding is another on other machines."""
    gone = {
        place: why
        for place, why in listed.known.items()
        if place not in found.known and why.reason != "precision"
    }
    for name in sorted({place.name for place in gone}):
        lines = lines_of({p: why for p, why in gone.items() if p.name == name})
        yield "\n    ".join((f"[{name}] is listed with what is no difference:", *lines))
