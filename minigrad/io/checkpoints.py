"""HDF5 checkpoints of a training, written whole or not at all.

A checkpoint is an HDF5 file, in whose user block (512 bytes that HDF5 leaves to us)
stand the format and the SHA-256 of all that follows. It is looked at before HDF5 is:
on damaged files that library may search for ever, or hand out wrong weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import to_numpy
from minigrad.io import hdf5
from minigrad.io.damaged import open_regular, reading, reason
from minigrad.io.files import replacing
from minigrad.io.limits import check_size
from minigrad.io.numbers import NUMBERS
from minigrad.tape import array_of

FORMAT = "minigrad checkpoint 2"
USER_BLOCK = 512  # bytes, the smallest that HDF5 knows

# What may be given, and the methods that give and take its state.
PARTS = {
    "model": ("a module", "state_dict", "load_state_dict"),
    "optimizer": ("an optimiser", "state_dict", "load_state_dict"),
    "generator": ("a minigrad.Generator", "get_state", "set_state"),
}


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
        TypeError: something is of another kind, or config, extra or a state hold what
            a checkpoint cannot.
    """
    given = {"model": model, "optimizer": optimizer, "generator": generator}
    states = {name: _give_take(part, name)[0]() for name, part in _given(given)}
    plain = {
        "step": int(step),
        "config": config or {},
        "generator": states.pop("generator", None),
        "extra": extra or {},
    }
    for name, part in plain.items():  # each by itself, so that an error can name it
        _json(part, name)
    image = _image(json.dumps(plain), {"model": {}, "optimizer": {}} | states)
    # The view is released at the end: an error's traceback would keep the memory.
    with (
        image.getbuffer() as content,
        replacing(path) as temporary,
        open(temporary, "wb") as file,
    ):
        file.write(content)


def _given(parts: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, part) for name, part in parts.items() if part is not None]


def _give_take(part: Any, name: str, count: int = 1) -> list[Callable[..., Any]]:
    """The methods that give the state of a part and, if two are asked for, take one.

    Raises: TypeError if the part is of another kind.
    """
    what, *methods = PARTS[name]
    found = [getattr(part, method, None) for method in methods[:count]]
    if isinstance(part, type) or not all(map(callable, found)):
        raise TypeError(
            f"{name} is a {type(part).__name__}, but must be {what}, or anything with "
            f"{' and '.join(methods[:count])}: give the object itself, not its state."
        )
    return found  # type: ignore[return-value]


def _image(header: str, states: dict[str, Any]) -> io.BytesIO:
    """The bytes of the whole file.

    They are made in memory: where a disk is full, HDF5 itself raises errors of many
    kinds and cannot close its file any more.
    """
    image = io.BytesIO()
    with hdf5.import_h5py().File(image, "w", userblock_size=USER_BLOCK) as file:
        file.attrs["header"] = header
        for group, state in states.items():
            _write_state(file.create_group(group), state)
    with image.getbuffer() as content, content[USER_BLOCK:] as checked:
        digest = hashlib.sha256(checked).hexdigest()
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


def _write_state(group: Any, state: Mapping[Any, Any]) -> None:
    """Nested dictionaries become groups, arrays datasets, the rest JSON attributes."""
    for i, (key, value) in enumerate(state.items()):
        if isinstance(value, dict):
            child = group.create_group(str(i))
            _write_state(child, value)
        elif hasattr(value, "dtype"):
            child = group.create_dataset(str(i), data=_numbers(key, value))
        else:
            text = _json(value, f"the state's {key!r}")
            child = group.create_dataset(str(i), data=text)
            child.attrs["json"] = True
        child.attrs["key"] = _json_key(key)


def _numbers(key: Any, value: Any) -> Any:
    """The NumPy array of a value with a dtype, whose numbers HDF5 can hold."""
    value = array_of(value)
    array = value if isinstance(value, np.generic) else to_numpy(value)
    if getattr(array, "dtype", np.dtype(object)).kind in NUMBERS:
        return array
    raise TypeError(
        f"save_checkpoint: the state's {key!r} is {value.dtype}, and a checkpoint "
        "holds arrays of numbers. Convert it, or keep it as plain data such as lists."
    )


def _json(value: Any, what: str) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"save_checkpoint: {what} cannot be written as JSON: {reason(error)}. Keep "
            "it as plain data: numbers, texts, None, and lists or dictionaries of them."
        ) from error


def _json_key(key: Any) -> str:
    if isinstance(key, str | int | float | None):
        return json.dumps(key)
    raise TypeError(
        f"save_checkpoint: a {type(key).__name__} is a key of the state. Use texts or "
        "numbers as keys."
    )


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Any = None,
    optimizer: Any = None,
    generator: Any = None,
) -> Checkpoint:
    """Read a checkpoint, load it into what is given, and return all that it holds.

    All that is given takes over its state or, where one does not fit, none does.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: what is given is nothing that a state can be loaded into.
        ValueError: the file is no complete checkpoint, or of another model, optimiser
            or generator.
    """
    given = _given({"generator": generator, "optimizer": optimizer, "model": model})
    for name, part in given:
        _give_take(part, name, count=2)
    if not Path(path).exists():
        raise FileNotFoundError(
            f"there is no checkpoint {str(path)!r}. Check the path; training has none "
            "before its first save."
        )
    hdf5.import_h5py()
    way_out = "Use another file, or train again"
    with (
        open_regular(path) as file,
        reading(path, "a complete minigrad checkpoint", way_out=way_out),
    ):
        content = _read(file, path)
    _take_over(content, path, given)
    return content


def _take_over(
    content: Checkpoint, path: str | os.PathLike[str], given: list[tuple[str, Any]]
) -> None:
    """Load states into all that is given or, where one does not fit, into nothing."""
    if content.generator is None and "generator" in dict(given):
        raise ValueError(
            f"{os.fspath(path)!r} was saved without a generator, so nothing was "
            "loaded. Leave generator= out, and seed it anew."
        )
    begun = []
    try:
        for name, part in given:
            if hasattr(part, "check_state_dict"):  # before anything is touched
                part.check_state_dict(getattr(content, name))
        for name, part in given:
            give, take = _give_take(part, name, count=2)
            begun.append((take, give()))
            take(getattr(content, name))
    except BaseException as error:
        for take, before in begun:
            take(before)
        whole = isinstance(error, ValueError) and str(error).endswith(".")
        if whole or not isinstance(error, Exception):
            raise
        raise ValueError(
            f"{os.fspath(path)!r} holds a state that does not fit, so nothing was "
            f"loaded: {reason(error)}. Build model, optimiser and generator as they "
            "were when it was saved."
        ) from error


# -- the file's content ------------------------------------------------------------


def _read(file: io.BufferedReader, path: str | os.PathLike[str]) -> Checkpoint:
    _check(file)
    with hdf5.open_hdf5(path) as opened:
        header = _header(json.loads(hdf5.text_attribute(opened, "header")))
        states = _States(os.fstat(file.fileno()).st_size)
        for name in ("model", "optimizer"):
            header[name] = states.read(hdf5.child(opened, name))
    return Checkpoint(**header)


def _header(header: Any) -> dict[str, Any]:
    """The header's parts, each of the kind that was written."""
    kinds: dict[str, Any] = {
        "step": int | float,  # which there are, who resumes knows: neither 1.5 nor 999
        "config": dict,
        "generator": dict | None,
        "extra": dict,
    }
    if type(header) is not dict or set(header) != set(kinds):
        raise ValueError(f"its header does not have {', '.join(kinds)}")
    for name, kind in kinds.items():
        if not isinstance(header[name], kind) or isinstance(header[name], bool):
            raise ValueError(f"its {name} is a {type(header[name]).__name__}")
    return header


class _States:
    """The nested dictionaries of a file, of which every object is read once."""

    def __init__(self, stored: int) -> None:
        self.stored = stored  # bytes of the whole file
        self.size = 0  # bytes of the arrays that were read
        self.seen: set[Any] = set()

    def read(self, group: Any) -> dict[Any, Any]:
        """The dictionary that a group stands for."""
        self._require_new(group)
        state: dict[Any, Any] = {}
        for i in range(len(group)):
            child = hdf5.child(group, str(i))
            key = json.loads(hdf5.text_attribute(child, "key"))
            if not hasattr(child, "dtype"):
                state[key] = self.read(child)
            elif "json" in child.attrs:
                state[key] = json.loads(hdf5.text(child))
            else:
                state[key] = self._array(group, str(i))
        if len(state) < len(group):
            raise ValueError("a key stands twice in a state in it")
        return state

    def _array(self, group: Any, name: str) -> np.ndarray:
        found = hdf5.dataset(group, name)
        self._require_new(found)
        self.size += found.size * found.dtype.itemsize
        check_size(self.size, "its state", self.stored)
        return hdf5.read_all(found, name)

    def _require_new(self, found: Any) -> None:
        """Raise at an object that was met before: such a state may have no end."""
        place = hdf5.address(found)
        if place in self.seen:
            raise ValueError(f"{found.name!r} in it stands at two places")
        self.seen.add(place)
