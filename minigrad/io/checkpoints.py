"""How is training saved and resumed?  HDF5 checkpoints, written whole or not at all.

A checkpoint is an HDF5 file, in whose user block (512 bytes that HDF5 leaves to us)
stand the format and the SHA-256 of all that follows. It is looked at before HDF5 is:
on damaged files that library may search for ever, or hand out wrong weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import to_numpy
from minigrad.io.files import replacing

FORMAT = "minigrad checkpoint 2"
USER_BLOCK = 512  # bytes, the smallest that HDF5 knows

# What h5py and json raise for a file that is cut short, damaged or something else.
NOT_READABLE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
)


class Checkpoint(NamedTuple):
    """What a checkpoint holds: state dictionaries and plain data."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    step: int
    config: dict[str, Any]
    generator: dict[str, Any] | None
    extra: dict[str, Any]


def save_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Any = None,
    optimizer: Any = None,
    step: int = 0,
    config: dict[str, Any] | None = None,
    generator: Any = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write model, optimiser, step, configuration and generator state to one file.

    The file appears under its name only when it is complete: it is written to a
    temporary name in the same folder and renamed.

    Args:
        path: where the file will stand.
        model: a module, or anything with `state_dict()`.
        optimizer: an optimiser, or anything with `state_dict()`.
        step: how many steps were taken.
        config: plain data that JSON can hold.
        generator: a `minigrad.Generator`.
        extra: more plain data.

    Raises:
        OSError: the file could not be written; an older one is still there.
        TypeError: config or extra hold something that JSON cannot.
    """
    header = json.dumps(
        {
            "step": int(step),
            "config": config or {},
            "generator": generator.get_state() if generator is not None else None,
            "extra": extra or {},
        }
    )
    states = {
        "model": model.state_dict() if model is not None else {},
        "optimizer": optimizer.state_dict() if optimizer is not None else {},
    }
    image = _image(header, states)
    # A view that an error's traceback keeps would keep the image from being freed.
    with (
        image.getbuffer() as content,
        replacing(path) as temporary,
        open(temporary, "wb") as file,
    ):
        file.write(content)


def _image(header: str, states: dict[str, Any]) -> io.BytesIO:
    """The bytes of the whole file.

    They are made in memory: where a disk is full, HDF5 itself raises errors of many
    kinds and cannot close its file any more.
    """
    image = io.BytesIO()
    with _h5py().File(image, "w", userblock_size=USER_BLOCK) as file:
        file.attrs["header"] = header
        for group, state in states.items():
            _write_state(file.create_group(group), state)
    with image.getbuffer() as content, content[USER_BLOCK:] as hashed:
        digest = hashlib.sha256(hashed).hexdigest()
    image.seek(0)
    image.write(_user_block(digest))
    return image


def _user_block(digest: str) -> bytes:
    """The first bytes of a checkpoint whose other bytes have this SHA-256."""
    return f"{FORMAT}\nsha256 {digest}\n".encode().ljust(USER_BLOCK, b"\0")


def _check(file: io.BufferedReader) -> None:
    """Raises: ValueError if a file is not, to the bit, what was written."""
    found = file.read(USER_BLOCK)
    if not found.startswith(f"{FORMAT}\n".encode()):
        raise ValueError(f"it does not begin with {FORMAT!r}")
    if found != _user_block(hashlib.file_digest(file, "sha256").hexdigest()):
        raise ValueError("it was cut short or damaged, for its checksum is another")


def _write_state(group: Any, state: dict[str, Any]) -> None:
    """Nested dictionaries become groups, arrays data sets, the rest JSON attributes."""
    for i, (key, value) in enumerate(state.items()):
        if isinstance(value, dict):
            child = group.create_group(str(i))
            _write_state(child, value)
        elif hasattr(value, "dtype"):
            array = value if isinstance(value, np.generic) else to_numpy(value)
            child = group.create_dataset(str(i), data=array)
        else:
            child = group.create_dataset(str(i), data=json.dumps(value))
            child.attrs["json"] = True
        child.attrs["key"] = json.dumps(key)


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Any = None,
    optimizer: Any = None,
    generator: Any = None,
) -> Checkpoint:
    """Read a checkpoint, load it into what is given, and return all that it holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no complete checkpoint, or of another model.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"there is no checkpoint {str(path)!r}. Check the path; training that was "
            "stopped before its first save has none."
        )
    h5py = _h5py()
    try:
        content = _read(h5py, path)
    except NOT_READABLE as error:
        raise ValueError(
            f"{str(path)!r} is not a complete minigrad checkpoint: {error}. Use "
            "another file, or train again."
        ) from error
    if model is not None:
        model.load_state_dict(content.model)
    if optimizer is not None:
        optimizer.load_state_dict(content.optimizer)
    if generator is not None and content.generator is not None:
        generator.set_state(content.generator)
    return content


def _read(h5py: Any, path: str | os.PathLike[str]) -> Checkpoint:
    with open(path, "rb") as content:
        _check(content)
    with h5py.File(path, "r") as file:
        header = json.loads(file.attrs["header"])
        header["model"] = _read_state(file["model"])
        header["optimizer"] = _read_state(file["optimizer"])
    return Checkpoint(**header)


def _read_state(group: Any) -> dict[Any, Any]:
    state: dict[Any, Any] = {}
    for i in range(len(group)):
        child = group[str(i)]
        key = json.loads(child.attrs["key"])
        if not hasattr(child, "dtype"):
            state[key] = _read_state(child)
        elif "json" in child.attrs:
            state[key] = json.loads(child[()])
        else:
            state[key] = child[()] if child.shape else np.asarray(child[()])
    return state


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise RuntimeError(
            "checkpoints are HDF5 files and need h5py, which is not installed. "
            "Install it with: pip install h5py"
        ) from error
    return h5py
