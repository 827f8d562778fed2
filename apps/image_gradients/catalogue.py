"""The published weights and pictures: where they are, and what exactly.

The name of torchvision's file carries the first eight digits of its sha256; the others,
and its size, are as several projects that use the file have written them down.
"""

from __future__ import annotations

from pathlib import Path

from apps.download import Published, Single

# Where `minigrad look download` puts files, and where they are looked for.
FOLDER = Path("data/look")

TORCHVISION = Single(
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    size=4_958_839,
    sha256="b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
)

PICTURES = Single(
    url="http://cs231n.stanford.edu/imagenet_val_25.npz",
    size=3_940_548,
    sha256="35141609d22457c791e8fbe10c2d3b09ed0d6a04b669173e9fbebb0b4915cd3c",
)

FILES = (TORCHVISION, PICTURES)

# The same weights as the package ndf has them.
NDF = Published(
    size=4_945_361,
    sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
)

LICENCE = (
    "The weights were learned from ImageNet's pictures, and 25 of its pictures are "
    "here; the pictures belong to their authors, and ImageNet gives them for research "
    "and teaching that is not commercial (image-net.org)."
)
