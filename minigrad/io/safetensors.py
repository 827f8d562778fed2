"""The safetensors format: arrays exchanged without executing anything.

A file is the length of the header (8 bytes, little-endian), the header (JSON: for each
name dtype, shape and the part of the data), and the data (little-endian, row-major),
which the parts fill from end to end.

Source: the format's description at https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from minigrad import backend
from minigrad.io.damaged import open_regular, reading
from minigrad.io.files import replacing
from minigrad.io.limits import check_size, stored_bytes
from minigrad.io.numbers import BFLOAT16, are_sizes, decode, memory_of, size_in_file
from minigrad.tape import array_of

KINDS = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": BFLOAT16,
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
}
CODES = {kind: code for code, kind in KINDS.items() if kind != BFLOAT16}
LENGTH = 8  # bytes that say how long the header is
LARGEST_HEADER = 100_000_000  # bytes, the format's own bound
METADATA = "__metadata__"


class Part(NamedTuple):
    """Where one array stands: its kind of numbers, its shape, its bytes of the data."""

    name: str
    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


# -- writing -----------------------------------------------------------------------


def save_safetensors(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays, such as `module.state_dict()`, to a .safetensors file.

    The file appears under its name only when it is complete.

    Args:
        path: where the file will stand.
        arrays: arrays of any device, Tensors or numbers, by name.
        metadata: texts by name.

    Raises:
        TypeError: a name or metadata are no texts, or a dtype has no place in the
            format (complex numbers, for one).
        ValueError: an array has the name that the format keeps for metadata.
        OSError: the file could not be written; an older one is still there.
    """
    _check_names(arrays, metadata or {})
    plain = {name: _plain(name, value) for name, value in arrays.items()}
    # Large numbers first: every array then begins at a multiple of its numbers' size.
    order = sorted(plain, key=lambda name: -plain[name].dtype.itemsize)
    header = _header(plain, order, metadata)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(header).to_bytes(LENGTH, "little"))
        file.write(header)
        for name in order:
            stored = plain[name].dtype.newbyteorder("<")
            file.write(plain[name].astype(stored, copy=False).tobytes())


def _check_names(arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    for what, given in (("arrays", arrays), ("metadata", metadata)):
        if not isinstance(given, Mapping):
            raise TypeError(
                f"save_safetensors: {what} is a {type(given).__name__}, but must be a "
                "dictionary with texts as keys, such as module.state_dict()."
            )
    texts = [*arrays, *metadata, *metadata.values()]
    strange = [text for text in texts if not isinstance(text, str)]
    if strange:
        raise TypeError(
            f"save_safetensors: {strange[0]!r} is a {type(strange[0]).__name__}. Give "
            "a flat dictionary with texts as keys, and metadata as texts."
        )
    if METADATA in arrays:
        raise ValueError(
            f"safetensors keeps the name {METADATA!r} for metadata. Rename the array."
        )


def _plain(name: str, value: Any) -> np.ndarray:
    """The NumPy array of a value, once it is known that the format has its dtype."""
    array = backend.to_numpy(backend.as_array(array_of(value)))
    if array.dtype.newbyteorder("=").name in CODES:
        return array
    raise TypeError(
        f"safetensors has no dtype for {name!r}, which is {array.dtype}. Convert it, "
        "say by .astype('float32'); split complex numbers into .real and .imag."
    )


def _header(
    arrays: dict[str, np.ndarray],
    order: list[str],
    metadata: Mapping[str, str] | None,
) -> bytes:
    """The header as JSON, filled up so that the data begins at a multiple of 8."""
    entries: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    sizes = (arrays[name].nbytes for name in order)
    begins = dict(zip(order, itertools.accumulate(sizes, initial=0), strict=False))
    for name, array in arrays.items():
        entries[name] = {
            "dtype": CODES[array.dtype.newbyteorder("=").name],
            "shape": list(array.shape),
            "data_offsets": [begins[name], begins[name] + array.nbytes],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


# -- reading -----------------------------------------------------------------------


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a .safetensors file: its arrays by name, in the order of its header.

    bfloat16 becomes float32, without a change of value. Metadata is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or no safetensors file; it is read completely
            or not at all.
    """
    way_out = "Fetch it again, or read it with what wrote it and save it once more"
    with (
        open_regular(path) as file,
        reading(path, "a complete safetensors file", way_out=way_out),
    ):
        parts, start = _read_header(file)
        needed = sum(memory_of(part.shape, part.kind) for part in parts)
        check_size(needed, "what it holds", stored_bytes(file))
        return {part.name: _read_part(file, part, start) for part in parts}


def _read_header(file: BinaryIO) -> tuple[list[Part], int]:
    """The parts in the header's order, and where the data begins."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(_read(file, LENGTH), "little")
    if length > min(LARGEST_HEADER, size - LENGTH):
        raise ValueError(
            f"its first bytes promise a header of {length} bytes, but the file has "
            f"{size} and a header at most {LARGEST_HEADER}"
        )
    text = _read(file, length).decode()
    entries = json.loads(text, object_pairs_hook=_without_repeats)
    if not text.startswith("{") or not isinstance(entries, dict):
        raise ValueError("its header is no JSON object")
    metadata = entries.pop(METADATA, {})
    texts = metadata.values() if isinstance(metadata, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("its metadata are not texts by name")
    parts = [_part(name, entry) for name, entry in entries.items()]
    _check_layout(parts, size - LENGTH - length)
    return parts, LENGTH + length


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError(f"it ends {count - len(data)} bytes too early")
    return data


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a name stands twice in its header")
    return entries


def _part(name: str, entry: Any) -> Part:
    """One entry of the header, checked as far as it can be by itself."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the entry {name!r} does not have dtype, shape, data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in KINDS:
        known = ", ".join(KINDS)
        raise ValueError(f"{name!r} has dtype {str(code)[:20]!r}, not one of {known}")
    if not (are_sizes(shape) and are_sizes(offsets) and len(offsets) == 2):
        raise ValueError(f"shape or data_offsets of {name!r} are no lists of sizes")
    part = Part(name, KINDS[code], tuple(shape), *offsets)
    needed = math.prod(part.shape) * size_in_file(part.kind)
    if part.end - part.begin != needed:
        raise ValueError(
            f"{name!r} has {part.end - part.begin} bytes, and {code} of shape {shape} "
            f"needs {needed}"
        )
    return part


def _check_layout(parts: list[Part], size: int) -> None:
    """Raise unless the parts lie end to end and fill the data."""
    at = 0
    for part in sorted(parts, key=lambda part: (part.begin, part.end)):
        if part.begin != at:
            what = "a hole before" if part.begin > at else "an overlap at"
            raise ValueError(f"there is {what} {part.name!r}, at byte {part.begin}")
        at = part.end
    if at != size:
        raise ValueError(f"its arrays have {at} bytes, but {size} follow the header")


def _read_part(file: BinaryIO, part: Part, start: int) -> np.ndarray:
    file.seek(start + part.begin)
    data = _read(file, part.end - part.begin)
    return decode(data, part.kind).reshape(part.shape)
