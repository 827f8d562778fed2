"""Which files are made to do harm? Small ones that claim, link, nest or inflate.

Each is written under a given name by a function of one argument; what has to be refused
whatever its reader makes of it says so.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from scripts.fuzzing.damage import png_chunk, signed


class Hostile(NamedTuple):
    """A hostile file: what it is called, how it is made, whether it may be accepted."""

    name: str
    make: Callable[[Path], object]
    refused: bool = True


def _deflated(byte: bytes, count: int, head: bytes = b"", raw: bool = False) -> bytes:
    """A zlib stream, or a raw one, of a beginning and then one byte many times.

    A block that was flushed whole is the same bytes again and again.
    """
    block = byte * 2**20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = packer.compress(head + block) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    times = count // len(block) - 1
    stream = begin + again * times + packer.flush()
    if raw:
        return stream
    total = zlib.adler32(head)
    for _ in range(times + 1):
        total = zlib.adler32(block, total)
    return b"\x78\xda" + stream + struct.pack(">I", total)


# -- what is no file ---------------------------------------------------------------


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    # A socket's name may be 100 letters long: it is given from its folder.
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.fchdir(here)
    os.close(here)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**42)


ANY = (
    Hostile("a pipe that nobody writes", _fifo),
    Hostile("a socket", _socket),
    Hostile("a folder", Path.mkdir),
    Hostile("a link to itself", lambda path: path.symlink_to(path.name)),
    Hostile("a link to nothing", lambda path: path.symlink_to("nothing")),
    Hostile("a link to endless zeros", lambda path: path.symlink_to("/dev/zero")),
    Hostile("a file of 4 TB, all hole", _huge),
    Hostile("an empty file", Path.touch),
    Hostile("a text", lambda path: path.write_text("no such format\n" * 9), False),
    Hostile("zeros", lambda path: path.write_bytes(bytes(4096))),
)


# -- HDF5 --------------------------------------------------------------------------

Change = Callable[[h5py.File, str, tuple[int, ...], np.dtype], object]


def hdf5(
    data: bytes, name: str, finish: Callable[[bytes], bytes] = bytes
) -> list[Hostile]:
    """Hostile HDF5: in each, one data set of a good file is replaced by another."""

    def maker(change: Change) -> Callable[[Path], object]:
        def make(path: Path) -> None:
            path.write_bytes(data)
            with h5py.File(path, "r+") as file:
                old = file[name]
                shape, dtype, attributes = old.shape, old.dtype, dict(old.attrs)
                del file[name]
                change(file, name, shape, dtype)
                if isinstance(file.get(name, getlink=True), h5py.HardLink):
                    file[name].attrs.update(attributes)
            path.write_bytes(finish(path.read_bytes()))

        return make

    return [Hostile(f"{name}: {what}", maker(make)) for what, make in CHANGES.items()]


def _external(target: str) -> Change:
    def change(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        place = Path(file.filename).with_name(target)
        if target == "a pipe":
            os.mkfifo(place)
        elif target == "a file":
            place.write_bytes(bytes(10**6))
        size = max(1, int(np.prod(shape)) * dtype.itemsize)
        file.create_dataset(name, shape, dtype, external=[(str(place), 0, size)])

    return change


def _linked(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as made:
        made["set"] = np.ones(shape, dtype)
    file[name] = h5py.ExternalLink(str(other), "set")


def _link_to_missing(file: Any, name: str, *_: Any) -> None:
    file[name] = h5py.ExternalLink("missing.h5", "set")


def _link_to_pipe(file: Any, name: str, *_: Any) -> None:
    place = Path(file.filename).with_name("a pipe")
    os.mkfifo(place)
    file[name] = h5py.ExternalLink(str(place), "set")


def _cyclic(file: Any, name: str, *_: Any) -> None:
    file[name] = h5py.SoftLink(f"/{name}")


def _virtual(source: str) -> Change:
    def change(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        path = Path(file.filename).with_name("source.h5")
        if source == "other":
            with h5py.File(path, "w") as made:
                made["set"] = np.ones(shape, dtype)
        of = {"itself": ".", "pipe": str(path.with_name("a pipe"))}
        if source == "pipe":
            os.mkfifo(path.with_name("a pipe"))
        within = name if source == "itself" else "set"
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(of.get(source, str(path)), within, shape)
        file.create_virtual_dataset(name, layout)

    return change


def _unwritten(rows: int | None) -> Change:
    def change(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        width = shape[1:]
        count = rows or shape[0]
        file.create_dataset(name, (count, *width), dtype, chunks=(1, *width))

    return change


def _unwritten_plain(
    file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype
) -> None:
    file.create_dataset(name, shape, dtype)


def _half_written(
    file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype
) -> None:
    made = file.create_dataset(name, shape, dtype, chunks=(1, *shape[1:]))
    made[: shape[0] // 2] = 1


def _inflating(count: int) -> Change:
    """One chunk of zeros, a thousandth as large on the disk."""

    def change(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        width = max(1, int(np.prod(shape[1:])))
        rows = count // (width * dtype.itemsize)
        size = (rows, *shape[1:])
        made = file.create_dataset(name, size, dtype, chunks=size, compression="gzip")
        stream = _deflated(b"\0", width * rows * dtype.itemsize)
        made.id.write_direct_chunk((0,) * len(size), stream)

    return change


def _huge_chunk(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """A few rows, in a chunk that is declared a million times as long."""
    rows = (2**31) // max(1, int(np.prod(shape[1:])) * dtype.itemsize)
    made = file.create_dataset(
        name, shape, dtype, chunks=(rows, *shape[1:]), maxshape=(None, *shape[1:])
    )
    del made


def _strings(file: Any, name: str, shape: tuple[int, ...], _: np.dtype) -> None:
    file.create_dataset(name, shape, h5py.string_dtype())


def _references(file: Any, name: str, shape: tuple[int, ...], _: np.dtype) -> None:
    file.create_dataset(name, shape, h5py.ref_dtype)


def _wide(file: Any, name: str, shape: tuple[int, ...], _: np.dtype) -> None:
    file.create_dataset(name, shape, "V4000000")


def _no_space(file: Any, name: str, *_: Any) -> None:
    file[name] = h5py.Empty("f4")


def _filtered(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Packed by a filter that is not there."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(shape)
    properties.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, (3,))
    made = h5py.h5d.create(
        file.id,
        name.encode(),
        h5py.h5t.py_create(dtype),
        h5py.h5s.create_simple(shape),
        properties,
    )
    made.write_direct_chunk((0,) * len(shape), b"junk")


CHANGES: dict[str, Change] = {
    "stored in another file": _external("a file"),
    "stored in a pipe": _external("a pipe"),
    "stored in no file": _external("missing"),
    "linked into another file": _linked,
    "linked into no file": _link_to_missing,
    "linked into a pipe": _link_to_pipe,
    "linked to itself": _cyclic,
    "virtual, over another file": _virtual("other"),
    "virtual, over no file": _virtual("missing"),
    "virtual, over itself": _virtual("itself"),
    "virtual, over a pipe": _virtual("pipe"),
    "never written": _unwritten(None),
    "never written, in one piece": _unwritten_plain,
    "half of it never written": _half_written,
    "10^12 rows, never written": _unwritten(10**12),
    "10^8 rows, never written": _unwritten(10**8),
    "inflates to 1 GB": _inflating(2**30),
    "a chunk of 2 GB": _huge_chunk,
    "texts": _strings,
    "references": _references,
    "values of 4 MB": _wide,
    "no values": _no_space,
    "an unknown filter": _filtered,
}


def checkpoint_header(data: bytes, header: str) -> Callable[[Path], object]:
    """A checkpoint, whose checksum is right, with another header."""

    def make(path: Path) -> None:
        path.write_bytes(data)
        with h5py.File(path, "r+") as file:
            del file.attrs["header"]
            if len(header) < 60_000:
                file.attrs["header"] = header
        path.write_bytes(signed(path.read_bytes()))

    return make


def _full(**changes: Any) -> str:
    header = {"step": 1, "config": {}, "generator": None, "extra": {}}
    return json.dumps({**header, **changes})


HEADERS = {
    "nothing": "{}",
    "a list": "[]",
    "no JSON": "{",
    "nested deeply": "[" * 50_000,
    "digits": f'{{"step": {"9" * 5000}}}',
    "unknown names": _full(more=1),
    "a step of text": _full(step="\x1b[31m"),
    "a negative step": _full(step=-5),
    "an endless step": _full(step=10**30),
    "odd extra": _full(extra={"epoch_loss": [], "data": 7}),
    "an odd generator": _full(generator={"a": 1}),
    "no number": _full(extra={"epoch_loss": float("nan")}),
}


# -- zip, npy ----------------------------------------------------------------------


def packed(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def bomb(members: dict[str, bytes], name: str, count: int) -> bytes:
    """A zip of which one member goes on with its own last byte, many times."""
    content = members[name]
    last = content[-1:]
    total = zlib.crc32(content)
    for _ in range(count // 2**20):
        total = zlib.crc32(last * 2**20, total)
    stream = _deflated(last, count, content, raw=True)
    # Packed as if it were stored, and then said to be deflated.
    data = bytearray(packed({**members, name: stream}, zipfile.ZIP_STORED))
    sizes = struct.pack("<III", total, len(stream), len(content) + count)
    for mark, at in ((b"PK\3\4", 14), (b"PK\1\2", 16)):
        named = 30 if at == 14 else 46
        begin = -1
        while (begin := data.find(mark, begin + 1)) >= 0:
            if data[begin + named : begin + named + len(name)] == name.encode():
                data[begin + at : begin + at + 12] = sizes
                data[begin + at - 6 : begin + at - 4] = struct.pack("<H", 8)
    return bytes(data)


def lying(data: bytes, size: int) -> bytes:
    """A zip whose list of contents gives every member another size."""
    changed, at = bytearray(data), 0
    while (at := changed.find(b"PK\1\2", at)) >= 0:
        changed[at + 24 : at + 28] = struct.pack("<I", size)
        at += 4
    return bytes(changed)


def zips(members: dict[str, bytes], name: str) -> list[Hostile]:
    """Hostile zips around these members; who reads no more than it needs may do so."""
    good = packed(members)
    text = members[name]

    def named(other: str) -> bytes:
        return packed({other if n == name else n: c for n, c in members.items()})

    made = {
        "1 GB of one byte": lambda: bomb(members, name, 2**30),
        "many members": lambda: packed(
            members | {f"m{i}": b"" for i in range(30_000)}, zipfile.ZIP_STORED
        ),
        "sizes too small": lambda: lying(good, 3),
        "sizes of 4 GB": lambda: lying(good, 2**32 - 2),
        "leads outside": lambda: named(f"../../{name}"),
        "absolute": lambda: named(f"/tmp/{name}"),
        "escapes in a name": lambda: named(f"\x1b[31m{name}"),
        "no members": lambda: packed({}),
        "empty members": lambda: packed(dict.fromkeys(members, b"")),
        "packed by LZMA": lambda: packed(members, zipfile.ZIP_LZMA),
        "encrypted": lambda: _encrypted(good),
        "twice": lambda: good + good,
        "bzip2, damaged": lambda: _broken(packed(members, zipfile.ZIP_BZIP2)),
        "LZMA, damaged": lambda: _broken(packed(members, zipfile.ZIP_LZMA)),
        "another's bytes": lambda: packed(members | {name: text[: len(text) // 2]}),
    }
    return [
        Hostile(what, lambda path, make=make: path.write_bytes(make()), False)
        for what, make in made.items()
    ]


def _encrypted(data: bytes) -> bytes:
    changed = bytearray(data)
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = 0
        while (at := changed.find(mark, at)) >= 0:
            changed[at + flags] |= 1
            at += 4
    return bytes(changed)


def _broken(data: bytes) -> bytes:
    at = data.index(b"PK\3\4") + 60
    return data[:at] + bytes(b ^ 0x55 for b in data[at : at + 30]) + data[at + 30 :]


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """An array of NumPy's with this text as its header."""
    text = header.encode("latin-1")
    form = "<H" if version == b"\1\0" else "<I"
    length = struct.pack(form, len(text) % 2 ** (16 if form == "<H" else 32))
    return b"\x93NUMPY" + version + length + text + data


def _head(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


NPYS = {
    "10^12 rows": npy(_head("'<i8'", "(1000000000000, 5)")),
    "2^80 rows": npy(_head("'<i8'", f"({2**80}, 5)")),
    "10^9 rows": npy(_head("'<i8'", "(1000000000,)")),
    "10^12 rows of nothing": npy(_head("'|S0'", "(1000000000000,)")),
    "overflows": npy(_head("'<i8'", f"({2**32}, {2**32})")),
    "negative": npy(_head("'<i8'", "(-3, -5)"), bytes(120)),
    "true": npy(_head("'<i8'", "(True, 5)"), bytes(40)),
    "objects": npy(_head("'|O'", "(3,)"), b"cos\nsystem\n(S'true'\ntR."),
    "no header": npy(""),
    "4 GB of header": npy(_head("'<i8'", "(3,)"), b"", b"\2\0")[:10] + b"\xff\xff",
    "nested": npy("(" * 5000 + ")" * 5000),
    "a long sum": npy("{'a': " + "-" * 3000 + "1}"),
    "digits": npy(_head("'<i8'", f"({'9' * 5000},)")),
    "version 9": npy(_head("'<i8'", "(3,)"), bytes(24), b"\x09\0"),
    "dates": npy(_head("'<M8[s]'", "(2, 2)"), bytes(32)),
    "fields": npy(_head("[('a', '<f4', (10000, 10000))]", "(3,)"), bytes(24)),
    "20 dimensions": npy(_head("'<i8'", str((1,) * 70)), bytes(8)),
}


# -- pickles, safetensors ----------------------------------------------------------


def doubling(times: int) -> bytes:
    """A pickle in which each list holds the one before twice."""
    parts = [b"\x80\x02]q\0"]
    for number in range(1, times):
        memo, before = (struct.pack("<I", n) for n in (number, number - 1))
        parts.append(b"]r" + memo + b"(j" + before + b"j" + before + b"e")
    return b"".join((*parts, b"."))


PICKLES = {
    "doubles 200 times": doubling(200),
    "nests a million deep": b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".",
    "a million tuples": b"\x80\x02)" + b"\x85" * 10**6 + b".",
    "a million dictionaries": b"\x80\x02"
    + b"}K\x01" * 10**6
    + b"N"
    + b"s" * 10**6
    + b".",
    "a text of 2^62 letters": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "a number of 2^31 bytes": b"\x80\x02\x8b" + b"\xff\xff\xff\x7fa.",
    "a number of 2 MB": b"\x80\x02\x8b\0\0\x20\0" + b"\x7f" * 2**21 + b".",
    "a call": b"cos\nsystem\n(S'true'\ntR.",
    "a built-in": b"cbuiltins\neval\n(S'1'\ntR.",
    "a memo of 2^31": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a million marks": b"\x80\x02" + b"(" * 10**6 + b"t" * 10**6 + b".",
    "nothing": b".",
    "no end": b"\x80\x02]",
    "escapes": b"\x80\x02c\x1b[31m\nname\n.",
    "tuple doubles": b"\x80\x02)" + b"2\x86" * 200 + b".",
    "keys double": b"\x80\x02)" + b"2\x86" * 40 + b"}2Ns.",
    "a dictionary": b"\x80\x02}.",
    "keys": b"\x80\x02}(K\x01N\x88Nu.",
}


def torch_zip(pickled: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """PyTorch's container around a pickle."""
    members = {"archive/data.pkl": pickled, "archive/version": b"3\n"}
    for key, content in (storages or {}).items():
        members[f"archive/data/{key}"] = content
    return packed(members, zipfile.ZIP_STORED)


def tensor(shape: str, strides: str, count: int) -> bytes:
    """A pickle of one tensor of PyTorch's, whose sizes are texts as pickle has them."""
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n"
        b"FloatStorage\nX\x01\0\0\0"
        + b"0X\x03\0\0\0cpu"
        + b"J"
        + struct.pack("<i", count)
        + b"tQK\0("
        + shape.encode("latin-1")
        + b"t("
        + strides.encode("latin-1")
        + b"t\x89ccollections\nOrderedDict\n)RtR."
    )


def _long(number: int) -> str:
    size = number.bit_length() // 8 + 1
    return (b"\x8a" + bytes([size]) + number.to_bytes(size, "little")).decode("latin-1")


TENSORS = {
    "3 GB seen through strides of 0": tensor(_long(3 * 2**28), "K\0", 1),
    "2^62 numbers": tensor(_long(2**62), "K\1", 1),
    "2^400 numbers": tensor(_long(2**400), "K\0", 1),
    "a storage of 2^31 numbers": tensor("K\1", "K\1", 2**31 - 1),
    "negative strides": tensor("K\2", "J\xff\xff\xff\xff", 2),
    "many axes": tensor("K\1" * 100, "K\1" * 100, 1),
    "no axes, zero storage": tensor("", "", 0),
}


def pickles(wrap: Callable[[bytes], bytes]) -> list[Hostile]:
    """Hostile pickles, each in a file as `wrap` makes them."""
    return [
        Hostile(what, lambda path, data=data: path.write_bytes(wrap(data)))
        for what, data in PICKLES.items()
    ]


def tensors() -> list[Hostile]:
    """PyTorch's files whose tensors claim what their storage does not have."""
    return [
        Hostile(
            what,
            lambda path, data=data: path.write_bytes(torch_zip(data, {"0": bytes(4)})),
        )
        for what, data in TENSORS.items()
    ]


def safetensors(header: bytes, data: bytes = bytes(8), length: int = -1) -> bytes:
    """A safetensors file with this header."""
    size = len(header) if length < 0 else length
    return size.to_bytes(8, "little") + header + data


def _entry(**changes: Any) -> bytes:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
    return json.dumps({"a": entry}).encode()


def _digits(entry: str) -> bytes:
    return entry.replace("N", "9" * 4400).encode()


SAFETENSORS = {
    "a length of 2^63": safetensors(_entry(), length=2**63),
    "a length of 90 MB": safetensors(_entry(), length=90_000_000),
    "sizes of 4,400 digits": safetensors(
        _digits('{"a": {"dtype": "F32", "shape": [N], "data_offsets": [0, 8]}}')
    ),
    "offsets of 4,400 digits": safetensors(
        _digits('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, N]}}')
    ),
    "sizes of 1e300": safetensors(_entry(shape=[1e300])),
    "2^62 by 0": safetensors(_entry(shape=[2**62, 0], data_offsets=[0, 0]), b""),
    "2^40 by 2^40": safetensors(_entry(shape=[2**40, 2**40])),
    "a million axes": safetensors(_entry(shape=[1] * 10**6)),
    "negative": safetensors(_entry(shape=[-1, -2])),
    "nested": safetensors(b"[" * 10**6),
    "the name twice": safetensors(
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
        b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}'
    ),
    "escapes": safetensors(json.dumps({"\x1b[31m": 3}).encode()),
    "escapes in a dtype": safetensors(_entry(dtype="\x1b[31m")),
    "half a letter": safetensors(b'{"\\ud800": {"dtype": "F32"}}'),
    "300,000 names": safetensors(
        json.dumps(
            {
                f"n{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                for i in range(300_000)
            }
        ).encode(),
        b"",
    ),
}


# -- pictures ----------------------------------------------------------------------


def png(width: int, height: int, depth: int, colour: int, stream: bytes) -> bytes:
    """A PNG of this size."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def _png_texts() -> bytes:
    plain = png(16, 16, 8, 0, zlib.compress(bytes(17 * 16)))
    text = png_chunk(b"zTXt", b"a\0\0" + _deflated(b"a", 2**28))
    return plain[:33] + text + plain[33:]


def webp(width: int, height: int) -> bytes:
    """34 bytes that claim a picture of this size."""
    bits = (width - 1) | (height - 1) << 14
    body = b"VP8L" + struct.pack("<IBI", 13, 0x2F, bits) + bytes(9)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def tiff(width: int, height: int, bits: int = 8, rows: int = 0) -> bytes:
    """A TIFF of this size with hardly any bytes in it."""
    tags = {
        256: (4, width),
        257: (4, height),
        258: (3, bits),
        259: (3, 1),
        262: (3, 1),
        273: (4, 8),
        277: (3, 1),
        278: (4, rows or height),
        279: (4, 64),
    }
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in tags.items()
    )
    return (
        b"II*\0"
        + struct.pack("<I", 8 + 64)
        + bytes(64)
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


def bmp(width: int, height: int) -> bytes:
    """A BMP of this size with hardly any bytes in it."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + head + bytes(64)


def gif(width: int, height: int) -> bytes:
    """A GIF of this size with one frame of a few bytes."""
    sizes = struct.pack("<HH", width, height)
    frame = b"," + bytes(4) + sizes + b"\0\2\2\x44\1\0"
    return b"GIF89a" + sizes + b"\x80\0\0" + bytes(3) + b"\xff" * 3 + frame + b";"


PICTURES: dict[str, Callable[[], bytes]] = {
    "PNG of 20,000 x 60,000 zeros": lambda: png(
        20_000, 60_000, 8, 0, _deflated(b"\0", 300 * 2**20)
    ),
    "PNG of 2^31 x 2^31": lambda: png(2**31 - 1, 2**31 - 1, 8, 6, b""),
    "PNG of 13,000 x 13,000, 64 bits": lambda: png(
        13_000, 13_000, 16, 6, _deflated(b"\0", 2**28)
    ),
    "PNG of 0 x 0": lambda: png(0, 0, 8, 0, b""),
    "PNG with texts of 256 MB": _png_texts,
    "WebP of 16,383 x 16,383": lambda: webp(16_383, 16_383),
    "TIFF of 40,000 x 40,000": lambda: tiff(40_000, 40_000),
    "TIFF of 2^32 x 1": lambda: tiff(2**32 - 1, 9),
    "TIFF of 12,000 x 12,000, 32 bits": lambda: tiff(12_000, 12_000, 32),
    "BMP of 40,000 x 40,000": lambda: bmp(40_000, 40_000),
    "BMP of 2^31 x 16": lambda: bmp(2**31 - 1, 16),
    "BMP of negative sizes": lambda: bmp(-5, -(2**31)),
    "GIF of 65,535 x 65,535": lambda: gif(65_535, 65_535),
    "PPM of 10^9 x 10^9": lambda: b"P6 1000000000 1000000000 255\n" + bytes(99),
    "PPM of 5,000 digits": lambda: b"P6 " + b"9" * 5000 + b" 1 255\n" + bytes(99),
    "PGM of 30,000 x 30,000": lambda: b"P5 30000 30000 65535\n" + bytes(99),
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage",
    "SVG": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


def pictures() -> list[Hostile]:
    """Hostile pictures; the smallest may be read or not."""
    return [
        Hostile(what, lambda path, make=make: path.write_bytes(make()), False)
        for what, make in PICTURES.items()
    ]


# -- texts -------------------------------------------------------------------------


def texts(good: bytes) -> list[Hostile]:
    """What any text may turn out to be; a reader may well take some of it."""
    lines = good.splitlines()
    made: dict[str, Callable[[], bytes]] = {
        "a byte-order mark": lambda: b"\xef\xbb\xbf" + good,
        "UTF-16": lambda: good.decode("utf-8", "replace").encode("utf-16"),
        "CRLF": lambda: b"\r\n".join(lines) + b"\r\n",
        "CR": lambda: b"\r".join(lines) + b"\r",
        "no last line end": lambda: good.rstrip(b"\n"),
        "Latin-1": lambda: good + "é\n".encode("latin-1"),
        "NULs": lambda: good.replace(b"a", b"\0"),
        "nested": lambda: b"[" * 10**6,
        "one long line": lambda: good.replace(b"\n", b" ") * 50,
        "ten million line ends": lambda: b"\n" * 10**7,
        "100 MB": lambda: (good or b"x") * (10**8 // max(1, len(good))),
        "digits": lambda: b"1" * 5000,
    }
    return [
        Hostile(what, lambda path, make=make: path.write_bytes(make()), False)
        for what, make in made.items()
    ]


# Parts of a name that a folder may have, as bytes: not all of them are UTF-8.
NAMES = (
    b"\xff\xfe",
    b"\x1b[31mred",
    b"two\nlines",
    b"[bold]",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp".encode(),
    b"%s {0} $HOME",
    b"n" * 200,
    "ü💥".encode(),
    b"-rf",
    b"\x9b2J",
)
