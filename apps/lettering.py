"""Which characters can a figure show?  Those that its font has.

For all others matplotlib draws an empty box, and warns of each.
"""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from apps.printable import printable


def drawable(text: str) -> str:
    """A text as a figure can show it; a question mark stands for what it cannot."""
    known = _characters()
    return "".join(c if c == "\n" or ord(c) in known else "?" for c in printable(text))


@cache
def _characters() -> frozenset[int]:
    """What the font that matplotlib takes by itself can draw."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
