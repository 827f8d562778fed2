"""Inspection of the tape: its entries, their cost, the first NaN.

`explain` prints the tape, `draw` pictures it, `profile` measures it; `record_lines` and
`detect_anomaly` are modes in which each entry also remembers the user's line.
"""

from minigrad.inspect.costs import Event, Profile, profile
from minigrad.inspect.drawing import Drawing, draw
from minigrad.inspect.lines import detect_anomaly, record_lines, users_line
from minigrad.inspect.table import Row, explain, kept_bytes, rows_of, tape_of

__all__ = [
    "Drawing",
    "Event",
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
    "users_line",
]
