"""Is every wrong rule caught?  Print the table of primitives and mutations."""

from __future__ import annotations

import sys

from minigrad.testing.mutations import MISSED, table, text_of


def main() -> int:
    """Print the table; the exit status is 1 where a wrong rule was accepted."""
    rows = table()
    for line in text_of(rows):
        print(line)
    return int(any(MISSED in row.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
