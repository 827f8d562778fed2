"""Does minigrad compute what PyTorch's own samples for its operators say?

    python -m tests.interop.opinfo [--update] [NAME ...]

Runs every sample of OpInfo, ModuleInfo and OptimizerInfo that has a counterpart here,
or those of the operators named, prints a table, and holds the differences against
`differences.txt`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable

from tests.interop.opinfo import listing
from tests.interop.opinfo.listing import Listing, Place
from tests.interop.opinfo.running import EVERY, SECTIONS, THEIRS, found_in, run_all

COLUMNS = ("agrees", *listing.REASONS, "not listed")


def table(found: Listing) -> str:
    """How many samples agree, section by section, and why the others do not."""
    titles = "".join(f"{column:>13}" for column in COLUMNS)
    lines = [f"{'':20}{'names':>7}{'samples':>9}{titles}"]
    total = Counter()
    for title, names in SECTIONS.items():
        part = listing.of_names(found, set(names))
        count = Counter(why.reason for why in part.known.values())
        count["not listed"] = count.pop("?", 0)
        count["samples"] = sum(part.runs.values())
        count["agrees"] = count["samples"] - len(part.known)
        count["names"] = len({name for name, _ in part.runs})
        total += count
        lines.append(_row(title, count))
    return "\n".join([*lines, _row("all", total)])


def _row(title: str, count: Counter) -> str:
    cells = "".join(f"{count[column]:13}" for column in COLUMNS)
    return f"{title:20}{count['names']:7}{count['samples']:9}{cells}"


def main(arguments: list[str]) -> int:
    """Run, print, compare; 1 where something does not stand as it is listed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write differences.txt")
    parser.add_argument("names", nargs="*", metavar="NAME", help="as in the list")
    options = parser.parse_args(arguments)
    unknown = {*options.names} - {*EVERY}
    if unknown or (options.update and options.names):
        parser.error(f"no adapter for {unknown}" if unknown else "update all or none")
    listed = listing.read(listing.PATH.read_text(encoding="utf-8"))
    results = run_all(options.names or EVERY)
    found = listing.merged(found_in(results), listed)
    if options.names:
        listed = listing.of_names(listed, {*options.names})
    else:
        found.without.extend(name for name in THEIRS if name not in EVERY)
    print(table(found))
    return update(found) if options.update else report(found, listed, results)


def update(found: Listing) -> int:
    """Write the list, unless a difference has no reason."""
    nameless = {p: why for p, why in found.known.items() if why.reason == "?"}
    if not nameless:
        listing.PATH.write_text(listing.write(found), encoding="utf-8")
        print(f"Wrote {listing.PATH}.")
        return 0
    print(f"\nNothing was written: {len(nameless)} differences have no reason yet.")
    print("Mend them, or put these lines into the list with one of", *listing.REASONS)
    for name in sorted({place.name for place in nameless}):
        lines = listing.lines_of({p: w for p, w in nameless.items() if p.name == name})
        print(f"[{name}]", *lines, sep="\n")
    return 1


def report(found: Listing, listed: Listing, results: Iterable) -> int:
    """Say what does not stand as it is listed, with an example of each kind."""
    wrong = listing.problems(found, listed)
    print(*wrong, sep="\n") if wrong else print("All as listed.")
    shown = set()
    for name, outcomes in results:
        for dtype, ones in outcomes.items():
            for number, (what, detail) in enumerate(ones):
                place = Place(name, dtype, number)
                new = place in found.known and found.known[place].reason == "?"
                if new and (name, dtype, what) not in shown:
                    shown.add((name, dtype, what))
                    print(f"{name} {dtype} {number}: {what}: {detail}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
