"""How is the documentation built? Markdown pages whose code runs before they are shown.

The pages need no network to be read: the theme brings its own styles and no formula
needs a script.
"""

import doctest

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
