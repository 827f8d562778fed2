"""The published CoLA: its address and its files.

Sizes and sums are of the files in `cola_public_1.1.zip`. The zip also holds the same
sentences split into words by others' rules; `data download` leaves those in the zip.
"""

from __future__ import annotations

from apps.download import Archive, Published

ARCHIVE = Archive(
    url="https://nyu-mll.github.io/CoLA/cola_public_1.1.zip",
    size=255_330,
    files={
        "raw/in_domain_train.tsv": Published(
            428_578, "f320a10f92d3bce6b29152fde322a362eac39238e50d8de0c8815457fdf4fc12"
        ),
        "raw/in_domain_dev.tsv": Published(
            25_957, "77176f6a03faa5a1c4f23c69971fc1bff565931112fb65af47b2d6e24b7f42f7"
        ),
        "raw/out_of_domain_dev.tsv": Published(
            27_754, "201b9c57b2a20f1282242eec0ed8995729e3be19c29a46c047b3727338836c05"
        ),
        "README": Published(
            6_570, "b056fc502a7820e87daf24520083c48951571fa12b2ef4f9707ff9ff08c0256e"
        ),
    },
)

LICENCE = (
    "CoLA's sentences belong to the authors of the publications that they are from "
    "(listed in README); its makers publish them for research and claim fair use."
)
