r"""The characters that may be shown: those that a terminal neither obeys nor hides.

Words, names and addresses come from outside. What a terminal takes for orders, does not
draw, or lacks is shown as an escape, such as \x1b.
"""

from __future__ import annotations

import io
import unicodedata
from typing import TextIO

# What lays out a text.
LAYOUT = "\n\t"

# What is not drawn, although Unicode calls it a letter or a mark. Those marks that
# choose between two looks of an emoji (U+FE00 to U+FE0F) do no harm.
# Source: Unicode, DerivedCoreProperties.txt, Default_Ignorable_Code_Point.
UNDRAWN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0").union(
    map(chr, range(0x180B, 0x1810)), map(chr, range(0xE0100, 0xE01F0))
)

# What stands for our own marks where they are lacking, and is as wide.
PLAINER = str.maketrans({"█": "#", "…": "~"})


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""A text as it may be shown in an encoding; what may not be, as an escape.

    Escapes stand for control characters (other than line breaks and tabs), what turns
    the direction of writing, lone surrogates, and what is not drawn or not encoded.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_shown, text))
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plainer = text.translate(PLAINER)
        return plainer.encode(encoding, "backslashreplace").decode(encoding)
    return text


def one_line(text: str) -> str:
    """A printable text without line breaks: it cannot pass for a line of ours."""
    return printable(text.replace("\n", "\\n"))


def _shown(letter: str) -> str:
    if letter.isprintable():
        drawn = letter not in UNDRAWN
    else:
        drawn = letter in LAYOUT or unicodedata.category(letter) == "Zs"
    return letter if drawn else letter.encode("unicode_escape").decode("ascii")


class PrintableStream(io.TextIOBase):
    """A stream that passes on what may be shown; `unfiltered` is the one beneath."""

    errors = "backslashreplace"

    def __init__(self, unfiltered: TextIO) -> None:
        self.unfiltered = unfiltered

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The name of the encoding that is written."""
        return self.unfiltered.encoding or "utf-8"

    def write(self, text: str) -> int:
        """Write what may be shown of a text."""
        self.unfiltered.write(printable(text, self.encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what is held back."""
        self.unfiltered.flush()

    def isatty(self) -> bool:
        """Whether this is a terminal."""
        return self.unfiltered.isatty()

    def writable(self) -> bool:
        """Whether this can be written to."""
        return True
