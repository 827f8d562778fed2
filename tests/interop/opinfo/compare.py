"""Do both sides agree on a sample, and if not, in what?"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from tests.interop.opinfo.functions import NotOffered
from tests.interop.opinfo.samples import Results, Sample

# What rounding may do to each number, and to the digits of the largest of an array.
EACH = {"float64": 1e-12, "float32": 2e-6, "float16": 4e-3}
LARGEST = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2}


class Outcome(NamedTuple):
    """In what a sample differs ("" where both agree), and more words for a reader."""

    what: str
    detail: str = ""


AGREE = Outcome("")


def outcome(sample: Sample) -> Outcome:
    """Compute a sample on both sides and hold the results against each other."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            ours = sample.ours()
        except NotOffered as missing:
            return Outcome("left out", str(missing))
        except Exception as error:  # whatever it is, it is a difference
            return Outcome("raises", f"{type(error).__name__}: {error}")
        theirs = sample.theirs(False)
        if not theirs:
            return Outcome("left out", "by PyTorch as well")
        found = difference(ours, theirs, theirs, sample.elementwise)
        if found.what not in ("value", "gradient"):
            return found
        # PyTorch rounds as well: what it computes in float64 may stand nearer to ours.
        wide = sample.theirs(True)
        wide = {name: wide[name].astype(array.dtype) for name, array in theirs.items()}
        return difference(ours, theirs, wide, sample.elementwise)


def difference(
    ours: Results, theirs: Results, wide: Results, elementwise: bool
) -> Outcome:
    """The first difference: results, their dtypes and shapes, then their numbers."""
    if list(ours) != list(theirs):
        return Outcome("results", f"{list(ours)} instead of {list(theirs)}")
    for form in ("dtype", "shape"):
        for name, array in theirs.items():
            got, wanted = getattr(ours[name], form), getattr(array, form)
            if got != wanted:
                return Outcome(form, f"{name}: {got} instead of {wanted}")
    shape = theirs["value 0"].shape
    for name, array in theirs.items():
        # A gradient of another shape was summed: there terms may cancel.
        each = elementwise and array.shape == shape
        off = ~agreeing(ours[name], array, wide[name], each)
        if off.any():
            i = tuple(np.argwhere(off)[0].tolist())
            words = f"{off.sum()} of {off.size}; at {i} {ours[name][i]}"
            return Outcome(name.split()[0], f"{name}: {words}, theirs {array[i]}")
    return AGREE


def agreeing(
    ours: np.ndarray, theirs: np.ndarray, wide: np.ndarray, each: bool
) -> np.ndarray:
    """Where our numbers are PyTorch's, or those that it computes in float64.

    Numbers of an element-wise function are right in their own last digits; those of
    others, where terms may cancel, in the digits of the largest of the array.
    """
    if theirs.dtype.kind != "f":
        return ours == theirs
    rounding = (EACH if each else LARGEST)[theirs.dtype.name]
    narrow = close(ours, theirs, rounding, each)
    if narrow.all():
        return narrow
    error = relative_error(theirs, wide, each)
    own = error[np.isfinite(error)].max(initial=0)
    return narrow | close(ours, wide, max(rounding, 4 * own), each)


def close(
    ours: np.ndarray, expected: np.ndarray, bound: float, each: bool
) -> np.ndarray:
    """Where numbers agree; NaN agrees with NaN, and infinities by their sign."""
    same = (ours == expected) | (np.isnan(ours) & np.isnan(expected))
    return same | (relative_error(ours, expected, each) <= bound)


def relative_error(ours: np.ndarray, expected: np.ndarray, each: bool) -> np.ndarray:
    """The distance, as a share of each number expected, or of the largest of all."""
    right = expected.astype("float64")
    size = np.abs(right) + float(np.finfo(expected.dtype).smallest_normal)
    size = size if each else size[np.isfinite(right)].max(initial=0)
    with np.errstate(invalid="ignore"):  # infinities, which `close` knows
        return np.abs(ours.astype("float64") - right) / size
