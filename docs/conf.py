"""Sphinx: Markdown pages whose code runs before they are shown.

The pages need no network to be read: the theme brings its own styles and no formula
needs a script.
"""

import doctest
from pathlib import Path

import minigrad as mg
import nn

project = "minigrad"
author = "the minigrad contributors"
project_copyright = author

extensions = ["myst_parser", "sphinx.ext.doctest"]
exclude_patterns = ["_build", "measured.md"]
nitpicky = True

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Line breaks in a page's expected output are for the reader's eye.
doctest_default_flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

html_theme = "furo"
html_title = "minigrad"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def draw_the_tape() -> None:
    """Draw the tape of one step of an RNN, for the page that shows it."""
    folder = Path(__file__).parent / "_generated"
    folder.mkdir(exist_ok=True)
    cell = nn.RNNCell(3, 4, generator=mg.Generator(0))
    h = cell(mg.ones((2, 3)), mg.zeros((2, 4)))
    mg.draw((h * h).sum(), folder / "tape.svg")


draw_the_tape()
