"""How are PyTorch's files made by hand, sound ones and broken ones?  Byte by byte."""

from __future__ import annotations

import pickle
import struct
import zipfile

MAGIC = 0x1950A86A20F9469CFC6C


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(data) > 255:
        return b"\x8b" + struct.pack("<i", len(data)) + data
    return b"\x8a" + bytes([len(data)]) + data


def several(*items):
    """A tuple."""
    return b"(" + b"".join(items) + b"t"


def sizes(*values):
    return several(*map(integer, values))


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def call(function, *arguments):
    return function + several(*arguments) + b"R"


def storage(kind="Float", key="0", count=6, first="storage", more=()):
    """A reference to a storage."""
    class_ = name("torch", f"{kind}Storage")
    items = [text(first), class_, text(key), text("cpu"), integer(count), *more]
    return several(*items) + b"Q"


def tensor(memory=None, offset=0, shape=(2, 3), strides=(3, 1), metadata=()):
    function = name("torch._utils", "_rebuild_tensor_v2")
    hooks = call(name("collections", "OrderedDict"))
    arguments = (integer(offset), sizes(*shape), sizes(*strides), b"\x89", hooks)
    return call(function, memory or storage(), *arguments, *metadata)


def tensor_of_dtype(memory, kind, metadata=()):
    function = name("torch._utils", "_rebuild_tensor_v3")
    hooks = call(name("collections", "OrderedDict"))
    arguments = (integer(0), sizes(2), sizes(1), b"\x89", hooks, kind)
    return call(function, memory, *arguments, *metadata)


def pickled(content):
    return b"\x80\x02" + content + b"."


SIX = struct.pack("<6f", *range(6))


def write_zip(
    path, pickle_bytes, storages=None, entries=None, compression=zipfile.ZIP_STORED
):
    storages = {"0": SIX} if storages is None else storages
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle_bytes)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        for key, data in (entries or {}).items():
            archive.writestr(f"archive/{key}", data)


def legacy_parts(pickle_bytes, storages=None, width=4):
    storages = {"0": SIX} if storages is None else storages
    head = [pickle.dumps(part, 2) for part in (MAGIC, 1001, {"little_endian": True})]
    tail = [struct.pack("<q", len(data) // width) + data for data in storages.values()]
    return [*head, pickle_bytes, pickle.dumps(list(storages), 2), *tail]


def write_legacy(path, pickle_bytes, storages=None, width=4):
    path.write_bytes(b"".join(legacy_parts(pickle_bytes, storages, width)))


WRITERS = {"zip": write_zip, "legacy": write_legacy}
