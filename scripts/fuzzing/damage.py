"""How is a good file damaged? By bytes, by lines, and inside what it packs.

Each way takes the random numbers, the file's bytes and other files of its sort, and
gives other bytes. Those that unpack a format pack it again with right sums and sizes,
so that what reads the inside is reached.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Damage = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
EXTREMES += (2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)

# What a text may hold that its reader did not think of.
TOKENS = (
    b"\xef\xbb\xbf",  # a byte-order mark
    b"\xff\xfe",
    b"\xff",
    b"\xed\xa0\x80",  # half a pair of UTF-16, as if it were a letter
    b"\\ud800",
    b"\x1b[31m\x1b]0;title\x07",
    b"\xc2\x9b2J",  # the same as one character of two bytes
    b"\\u001b[2J",
    b"\xe2\x80\xae",  # from here on right to left
    b"\0",
    b"\\u0000",
    b"\r\n",
    b"\r",
    b"\n\n",
    b"\xe2\x80\xa8",  # a line separator
    b"\x0b\x0c\x85",
    b"\t",
    b" ",
    b"[bold]",
    b"[/]",
    b"{{7*7}}",
    b"%s%n{0}",
    b"../../etc/passwd",
    b"/etc/passwd",
    b"\\",
    b'"',
    b"-1",
    b"1e999",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"9" * 30,
    b"9" * 5000,  # more digits than Python turns into a number
    b"[" * 3000,
    b"w" * 50_000,
    "Ω💥é".encode(),
)

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e300,
    float("nan"),
    float("inf"),
    2**31,
    2**63,
    10**400,
    "",
    "\x1b[31mred",
    "\ud800",
    "\0",
    "[bold]",
    "w" * 50_000,
    "a b",
    "\n",
    [],
    {},
    [[[]]],
    {"a": None},
)


# -- bytes -------------------------------------------------------------------------


def flip_bits(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Turn over up to eight bits."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def write_numbers(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Put an extreme number of up to eight bytes somewhere, in either order."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        size = rng.choice((1, 2, 4, 8))
        number = rng.choice(EXTREMES) % 2 ** (8 * size)
        place = rng.randrange(max(1, len(data)))
        order = rng.choice(("little", "big"))
        changed[place : place + size] = number.to_bytes(size, order)
    return bytes(changed)


def cut(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Keep the beginning only."""
    return data[: rng.randrange(max(1, len(data)))]


def _piece(rng: random.Random, data: bytes) -> tuple[int, int]:
    begin = rng.randrange(max(1, len(data)))
    return begin, begin + rng.randint(1, max(1, min(4096, len(data) // 2)))


def drop(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Leave a piece out."""
    begin, end = _piece(rng, data)
    return data[:begin] + data[end:]


def repeat(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Put a piece in again, once or many times."""
    begin, end = _piece(rng, data)
    times = rng.choice((1, 2, 50))
    return data[:end] + data[begin:end] * times + data[end:]


def blank(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Fill a piece with one byte."""
    begin, end = _piece(rng, data)
    filling = rng.choice((b"\0", b"\xff", b"A")) * (min(end, len(data)) - begin)
    return data[:begin] + filling + data[end:]


def splice(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Begin as this file and end as another."""
    other = rng.choice(pool) if pool else data
    at, of = rng.randrange(max(1, len(data))), rng.randrange(max(1, len(other)))
    return data[:at] + other[of:]


def surround(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Put something before or after it all."""
    more = rng.choice((*TOKENS, bytes(rng.randbytes(rng.choice((1, 7, 4096))))))
    return more + data if rng.random() < 0.5 else data + more


BYTES: tuple[Damage, ...] = (
    flip_bits,
    flip_bits,
    write_numbers,
    cut,
    drop,
    repeat,
    blank,
    splice,
    surround,
)


# -- lines -------------------------------------------------------------------------


def put_token(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Put something odd into it, or in the place of some of it."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at + rng.choice((0, 0, 1, 5)) :]


def change_line(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Drop, double, empty, move or replace a line."""
    lines = data.split(b"\n")
    row = rng.randrange(len(lines))
    others = (rng.choice(pool) if pool else data).split(b"\n")
    changed = rng.choice(
        ([], [lines[row]] * 2, [b""], [rng.choice(others)], [rng.choice(TOKENS)])
    )
    return b"\n".join([*lines[:row], *changed, *lines[row + 1 :]])


def change_encoding(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Save it as another editor or another system would have."""
    text = data.decode("utf-8", "replace")
    return rng.choice(
        (
            text.encode("utf-16"),
            text.encode("utf-8-sig"),
            text.encode("utf-32"),
            f"{text}é".encode("latin-1", "replace"),
            data.replace(b"\n", b"\r\n"),
            data.replace(b"\n", b"\r"),
            data.rstrip(b"\n"),
        )
    )


LINES: tuple[Damage, ...] = (put_token, put_token, change_line, change_encoding, *BYTES)


def change_json(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Give one place of a JSON value another value, or take it away."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return json.dumps(_changed(rng, content)).encode("utf-8", "surrogatepass")


def _changed(rng: random.Random, value: Any) -> Any:
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.15:
        return rng.choice(VALUES)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = rng.choice(keys)
    changed = value.copy()
    way = rng.random()
    if way < 0.15:
        del changed[key]
    elif way < 0.3 and isinstance(value, dict):
        changed[rng.choice(("", "\x1b[2J", "more", "\ud800"))] = changed.pop(key)
    else:
        changed[key] = _changed(rng, value[key])
    return changed


def change_json_lines(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Change one JSON value of a file that has one a line."""
    lines = data.splitlines()
    if lines:
        row = rng.randrange(len(lines))
        lines[row] = change_json(rng, lines[row], ())
    return b"\n".join(lines) + b"\n"


# -- inside ------------------------------------------------------------------------


def change_member(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Damage a member of a zip, and pack it again with right sums."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {n: archive.read(n) for n in archive.namelist()}
    except Exception:
        return data
    name = rng.choice(list(members))
    way = rng.choice((change_npy,) if name.endswith(".npy") else LINES)
    members[name] = way(rng, members[name], list(members.values()))
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    if rng.random() < 0.1:
        packing = rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def change_npy(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Give an array's header another shape, dtype or order, and its bytes as before."""
    shapes = ((), (0,), (-1,), (10**12,), (2**40, 2**40), (3,), (3, 4))
    descriptions = ("<f4", ">i8", "|O", "<U9", "|S0", "<f2", "<c8", "|b1", "<M8[s]")
    descriptions += ("|V8", "<q", "?", "<i3", "", "[('a', '<f4')]")
    header = str(
        {
            "descr": rng.choice(descriptions),
            "fortran_order": rng.choice((True, False, None)),
            "shape": rng.choice(shapes),
        }
    )
    if rng.random() < 0.2:
        header = flip_bits(rng, header.encode(), ()).decode("latin-1")
    text = header.encode("latin-1", "replace") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data[128:]


def change_header(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Damage the header of a safetensors file, and say its length as it is."""
    length = int.from_bytes(data[:8], "little")
    header = rng.choice((change_json, put_token))(rng, data[8 : 8 + length], ())
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def sign_again(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Damage a checkpoint, and write the checksum that it then has."""
    way = rng.choice((*BYTES, change_hdf5, change_hdf5, change_hdf5))
    return signed(data[:512] + way(rng, data, pool)[512:])


def signed(data: bytes) -> bytes:
    """A checkpoint with the checksum that belongs to its bytes."""
    digest = hashlib.sha256(data[512:]).hexdigest()
    return (
        f"minigrad checkpoint 2\nsha256 {digest}\n".encode().ljust(512, b"\0")
        + (data[512:])
    )


def change_chunk(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Damage one chunk of a PNG, and write the sum that it then has."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not data.startswith(b"\x89PNG") or not chunks:
        return flip_bits(rng, data, ())
    row = rng.randrange(len(chunks))
    way = rng.choice((flip_bits, write_numbers, cut, drop, repeat))
    kind, content = chunks[row]
    chunks[row] = kind, way(rng, content, ())
    return data[:8] + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its length and its sum."""
    sum_ = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)


# -- HDF5 --------------------------------------------------------------------------


def change_hdf5(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Give one data set or group other content, as HDF5's own library writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "changed.h5"
        path.write_bytes(data)
        try:
            with h5py.File(path, "r+") as file:
                _change_node(rng, file)
        except Exception:
            return flip_bits(rng, data, ())
        return path.read_bytes()


def _change_node(rng: random.Random, file: h5py.File) -> None:
    names: list[str] = []
    file.visit(names.append)
    name = rng.choice(names)
    node = file[name]
    if rng.random() < 0.2 and node.attrs:
        _change_attribute(rng, node)
        return
    values = node[()] if isinstance(node, h5py.Dataset) else np.arange(3)
    attributes = dict(node.attrs)
    del file[name]
    made = rng.choice(NODES)(rng, file, name, values)
    if made is not None and rng.random() < 0.8:
        for key, value in attributes.items():
            made.attrs[key] = value


def _change_attribute(rng: random.Random, node: Any) -> None:
    key = rng.choice(list(node.attrs))
    old = node.attrs[key]
    del node.attrs[key]
    text = old if isinstance(old, str) else "{}"
    ways = (
        lambda: change_json(rng, text.encode(), ()).decode("utf-8", "replace"),
        lambda: np.arange(5),
        lambda: "\x1b[31m",
        lambda: b"\xff\xfe",
        lambda: h5py.Empty("f"),
    )
    if rng.random() < 0.8:
        node.attrs[key] = rng.choice(ways)()


def _numbers(rng: random.Random, values: Any) -> np.ndarray:
    """The values, some of them made extreme."""
    array = np.array(values) if np.ndim(values) else np.arange(3.0)
    flat = array.reshape(-1)
    odd: tuple[Any, ...] = (-1, 0, 2**31 - 1)
    if flat.dtype.kind == "f":
        odd = (np.nan, np.inf, -np.inf, 1e38, 0)
    elif flat.dtype.kind not in "iu" or not flat.size:
        return array
    chosen = rng.choice(odd)
    with np.errstate(all="ignore"):
        if rng.random() < 0.2:
            flat[:] = np.array(chosen).astype(flat.dtype)
        else:
            place = rng.randrange(flat.size)
            flat[place] = np.array(chosen).astype(flat.dtype)
    return array


def _other_values(rng: random.Random, file: Any, name: str, values: Any) -> Any:
    return file.create_dataset(name, data=_numbers(rng, values))


def _other_dtype(rng: random.Random, file: Any, name: str, values: Any) -> Any:
    kinds = ("f2", ">f4", "f8", "c8", "i1", ">i8", "u8", "S5", "bool", "m8[s]", "O")
    kind = rng.choice(kinds)
    if kind == "O":
        return file.create_dataset(name, data=["a", "b"], dtype=h5py.string_dtype())
    if kind == "m8[s]":
        pairs = np.zeros(np.shape(values) or (3,), [("a", "f4"), ("b", "i4")])
        return file.create_dataset(name, data=pairs)
    with np.errstate(all="ignore"):
        return file.create_dataset(name, data=np.asarray(values).astype(kind))


def _other_shape(rng: random.Random, file: Any, name: str, values: Any) -> Any:
    array = np.asarray(values)
    shapes = ((), (0,), (0, 3), (1,), (1, 1), array.shape[::-1], (*array.shape, 1))
    shape = rng.choice((*shapes, (len(shapes),) * 3, None))
    if shape is None:
        return file.create_dataset(name, data=h5py.Empty("f4"))
    return file.create_dataset(name, data=np.resize(array, shape))


def _packed(rng: random.Random, file: Any, name: str, values: Any) -> Any:
    array = np.asarray(values)
    if not array.ndim or array.dtype.kind == "O":
        return None
    made = file.create_dataset(
        name, data=array, chunks=True, compression=rng.choice(("gzip", "lzf"))
    )
    if rng.random() < 0.5:
        junk = rng.choice((b"", b"\0", rng.randbytes(40), zlib.compress(bytes(10**6))))
        made.id.write_direct_chunk((0,) * array.ndim, junk)
    return made


def _never_written(rng: random.Random, file: Any, name: str, values: Any) -> Any:
    rows = rng.choice((3, 10**6, 10**12))
    width = np.shape(values)[1:]
    return file.create_dataset(name, (rows, *width), "f4", chunks=(1, *width))


def _link(rng: random.Random, file: Any, name: str, _: Any) -> None:
    targets = ("/missing", name, f"/{name}/{name}", "/", "\x1b[31m")
    way = rng.choice((h5py.SoftLink, lambda t: h5py.ExternalLink("/etc/passwd", t)))
    file[name] = way(rng.choice(targets))


def _group(_: random.Random, file: Any, name: str, __: Any) -> Any:
    return file.create_group(name)


def _nothing(*_: Any) -> None:
    return None


NODES: tuple[Callable[..., Any], ...] = (
    _other_values,
    _other_values,
    _other_values,
    _other_dtype,
    _other_shape,
    _packed,
    _never_written,
    _link,
    _group,
    _nothing,
)
