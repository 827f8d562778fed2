"""The published captioning set: its address and its files.

Sizes and sums are of the files as CS231n published them. The zip also holds the full,
4,096 wide features and the lists of picture names; nobody has given their sums, so
`data download` leaves them in the zip.
"""

from __future__ import annotations

from apps.download import Archive, Published

ARCHIVE = Archive(
    url="http://cs231n.stanford.edu/coco_captioning.zip",
    size=1_035_210_391,
    files={
        "coco2014_captions.h5": Published(
            42_922_600,
            "4035d7ff55145f1f01b9ee9f3e24eb6ba6da3bdcd69f927c75390f11f74f891d",
        ),
        "coco2014_vocab.json": Published(
            24_226,
            "0cf30d2a349e9d24df4c9b0fa3dca46ad69b05876595546fdd690559a8c8da53",
        ),
        "train2014_vgg16_fc7_pca.h5": Published(
            169_541_728,
            "ec0a10c585909761d15778a1c4a5dbad92e1672853d9b5bad08e6a36fd21c779",
        ),
        "val2014_vgg16_fc7_pca.h5": Published(
            82_954_336,
            "6619466e3385ef1e913fae9470ef802df283675533ce0dc34d88abac5e7d1cf9",
        ),
        "train2014_urls.txt": Published(
            5_186_859,
            "7616ec66526a3acc4ad323aef4ca6642a6bb9e7e4ad4f1541786dc07e6841ae2",
        ),
        "val2014_urls.txt": Published(
            2_538_571,
            "760d7c76f78f46cc376390cc4d21126b040eb48d896bae00a5b21f46ef5a9818",
        ),
    },
)

LICENCE = (
    "COCO's captions are under CC BY 4.0 (cocodataset.org); the photos belong to their "
    "authors."
)
