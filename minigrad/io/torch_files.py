"""PyTorch's .pth files, both containers, without PyTorch.

`torch.save` writes a pickle, in which tensors refer to storages by key, and beside it
the storages' bytes. Since version 1.6 both stand in a zip archive, before they followed
one another in one file. The pickle is read by `minigrad.io.torch_pickle`, which imports
and executes nothing.

Source: torch/serialization.py, torch/_utils.py and torch/storage.py of PyTorch 2.13
for the formats.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from minigrad.io.damaged import open_regular, reading
from minigrad.io.limits import check_size, stored_bytes
from minigrad.io.numbers import are_sizes, size_in_file
from minigrad.io.torch_names import NAMES, Kind, Storage
from minigrad.io.torch_pickle import Machine, Source, require_data

ZIP_START = b"PK\x03\x04"
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
TAR_MARK = (257, b"ustar")  # where a tar archive has its mark
BYTE_ORDERS = {b"little": "<", b"big": ">"}


def load_torch(path: str | os.PathLike[str]) -> Any:
    """Read what `torch.save` wrote, tensors as NumPy arrays; nothing is executed.

    Only tensors, parameters, plain containers, numbers and texts are read, as in a
    state dictionary; a file that names anything else is refused. OrderedDict becomes
    dict, torch.Size a tuple, torch.device its text, a dtype NumPy's. bfloat16 becomes
    float32, without a change of value. Tensors that share their storage share their
    memory; requires_grad and devices are forgotten.

    Returns:
        The saved object, usually a dictionary of arrays by name; where it was saved
        beside an epoch or an optimiser, a dictionary that holds this one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or no file of PyTorch's, or holds more than
            data.
    """
    way_out = (
        "Check that the copy is complete; or, with PyTorch, load it if you trust it "
        "and save its tensors alone, with torch.save(model.state_dict(), path)"
    )
    what = "a file of PyTorch's"
    with open_regular(path) as file, reading(path, what, way_out=way_out):
        return _read(file)


def state_dicts_in(value: Any) -> list[str]:
    """Where state dictionaries stand in what was loaded: "['model']", say.

    Training scripts save them beside an epoch and an optimiser's state. It is one if
    it has arrays, and texts as keys; what stands two dictionaries deep is found.
    """
    if not isinstance(value, Mapping):
        return []
    inner = {f"[{key!r}]": item for key, item in value.items() if type(key) is str}
    deeper = {
        place + f"[{key!r}]": item
        for place, outer in inner.items()
        if isinstance(outer, Mapping) and not _is_state_dict(outer)
        for key, item in outer.items()
    }
    return [place for place, v in {**inner, **deeper}.items() if _is_state_dict(v)]


def _is_state_dict(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    has_arrays = any(hasattr(item, "dtype") for item in value.values())
    return has_arrays and all(type(key) is str for key in value)


def _read(file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    check_size(size, "what it holds", stored_bytes(file))
    if file.read(len(ZIP_START)) == ZIP_START:
        return _Archive(file, size).read()
    place, mark = TAR_MARK
    file.seek(place)
    if file.read(len(mark)) == mark:
        raise ValueError("it is a tar archive, as PyTorch wrote before version 0.1.10")
    if not size:
        raise ValueError("it is empty")
    # A mapping gives what there is, and sets no memory aside for what a file claims.
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _read_legacy(content, size)


# -- the storages of a file --------------------------------------------------------


class _Storages:
    """The storages that a pickle refers to, each made once and none too large."""

    def __init__(self, size: int) -> None:
        self.left = size  # bytes: together they cannot be larger than the file
        self.made: dict[str, Storage] = {}

    def load(self, pickle: Source) -> Any:
        """Give the object of a pickle, with what is in the storages."""
        result = Machine(NAMES, self._refer).run(pickle)
        require_data(result)
        return result

    def _refer(self, reference: Any) -> np.ndarray:
        """Give the storage of a reference ("storage", class, key, location, count)."""
        kind, key, count = self._parse(reference)
        if key not in self.made:
            self.made[key] = self._make(key, kind, count)
        storage = self.made[key]
        if (storage.kind, storage.array.size) != (kind, count):
            raise ValueError(f"the storage {key!r} is said to be of two kinds or sizes")
        return storage.array

    def _parse(self, reference: Any) -> tuple[str, str, int]:
        if type(reference) is not tuple or reference[:1] != ("storage",):
            raise ValueError("it refers to something else than a storage")
        _, kind, key, _, count, *views = (*reference, None, None, None, None)[:6]
        if not isinstance(kind, Kind) or type(key) is not str:
            raise ValueError("it refers to a storage of an unknown kind")
        if not are_sizes([count]) or views != [None]:
            raise ValueError(f"its storage {key!r} has a size or a view of its own")
        return kind.numbers, key, count

    def _make(self, key: str, kind: str, count: int) -> Storage:
        self.left -= count * size_in_file(kind)
        if self.left < 0:
            raise ValueError(f"the storage {key!r} is larger than what the file holds")
        return Storage(kind, count)


# -- the zip archive ---------------------------------------------------------------


class _Archive(_Storages):
    """The container since PyTorch 1.6: NAME/data.pkl, NAME/byteorder, NAME/data/KEY."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(size)
        self.size = size
        self.archive = zipfile.ZipFile(file)
        names = self.archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive, but without the one data.pkl")
        self.folder = pickles[0].removesuffix("/data.pkl")
        if f"{self.folder}/constants.pkl" in names:
            raise ValueError("it is a TorchScript program, not a file of tensors")
        known = f"{self.folder}/byteorder" in names  # not written before PyTorch 2.1
        self.byte_order = BYTE_ORDERS[self.record("byteorder")] if known else "<"

    def read(self) -> Any:
        """Give the saved object."""
        return self.load(io.BytesIO(self.record("data.pkl")))

    def record(self, name: str) -> bytes:
        """The bytes of one entry, which PyTorch never compresses."""
        entry = self.archive.getinfo(f"{self.folder}/{name}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its entry {name!r} is compressed; PyTorch writes none")
        if entry.file_size > self.size:
            raise ValueError(f"its entry {name!r} claims to be larger than the file")
        return self.archive.read(entry)

    def _make(self, key: str, kind: str, count: int) -> Storage:
        storage = super()._make(key, kind, count)
        storage.fill(self.record(f"data/{key}"), self.byte_order)
        return storage


# -- the legacy container ----------------------------------------------------------


def _read_legacy(file: mmap.mmap, size: int) -> Any:
    """Five pickles (magic number, protocol, system, object, keys), then storages.

    The numbers are little-endian, whatever the machine that wrote them.
    """
    plain = Machine({})
    try:
        magic = plain.run(file)
    except Exception as error:
        raise ValueError("it begins as neither of PyTorch's two containers") from error
    if magic != MAGIC_NUMBER or plain.run(file) != LEGACY_PROTOCOL:
        raise ValueError("its magic number or protocol is not PyTorch's")
    plain.run(file)
    storages = _Storages(size)
    result = storages.load(file)
    keys = plain.run(file)
    texts = isinstance(keys, list) and all(type(key) is str for key in keys)
    if not texts or sorted(keys) != sorted(storages.made):
        raise ValueError("its list of storages is not that of its tensors")
    for storage in map(storages.made.__getitem__, keys):
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.array.size:
            raise ValueError(f"a storage has {count} numbers, not {storage.array.size}")
        storage.fill(file.read(storage.nbytes))
    return result
