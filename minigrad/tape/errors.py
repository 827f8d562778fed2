"""What went wrong in an operation?  The library's errors, told for the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.tape.entry import Entry
from minigrad.tape.primitives import Primitive


def explain(
    primitive: Primitive,
    arrays: Sequence[Any],
    error: Exception,
    settings: dict[str, Any] | None = None,
) -> Exception:
    """The library's error, told in terms of the operation and its operands."""
    kind = next(k for k in (IndexError, TypeError, Exception) if isinstance(error, k))
    kind = ValueError if kind is Exception else kind
    if isinstance(error, AttributeError):  # an operand that is no array
        kind = TypeError
    devices = sorted({backend.device_of(x) for x in arrays if backend.is_array(x)})
    told = ", ".join(
        f"{x.dtype}{list(x.shape)}" if backend.is_array(x) else repr(x) for x in arrays
    )
    if settings:
        told += "; " + ", ".join(f"{name}={v!r}" for name, v in settings.items())
    why = str(error)
    if isinstance(error, AttributeError) and not all(map(backend.is_array, arrays)):
        why = "it takes arrays with axes, not single numbers"
    what = f"{primitive.name}({told}) failed: {why}"
    if len(devices) > 1:
        return RuntimeError(
            f"{primitive.name} got operands on different devices, "
            f"{' and '.join(devices)}: an operation runs on one device. Move one of "
            f"them first, for example with x.to({devices[0]!r})."
        )
    return kind(f"{what.rstrip('.')}. {_way_out(primitive, arrays, kind, error)}")


def _way_out(
    primitive: Primitive, arrays: Sequence[Any], kind: type, error: Exception
) -> str:
    if isinstance(error, np.exceptions.AxisError):
        return "Check the axis against the shape."
    if kind is IndexError and "integer" in str(error):
        return "Convert ids to integers, for example with .astype(int)."
    if kind is IndexError:
        return "Check the index against the shape."
    if primitive.name == "matmul":
        return _way_out_of_matmul(arrays)
    if primitive.unbroadcast is not None and not _broadcast(arrays):
        return (
            "Shapes broadcast when, counted from the right, each pair of axes is equal "
            "or one of them is 1: reshape or expand_dims one operand."
        )
    if primitive.name.startswith("bitwise"):
        return (
            "Bits are those of integers and booleans: compare first, as in (x > 0) & "
            "(y > 0), or convert with .astype(int)."
        )
    if any(np.result_type(x).kind in "biu" for x in arrays):
        return "Convert integers first, for example with .astype('float32')."
    return "Check the operands' shapes and dtypes and the settings."


def _way_out_of_matmul(arrays: Sequence[Any]) -> str:
    if not all(map(np.ndim, arrays)):
        return "Multiply by a single number with *."
    return (
        "The last axis of the first operand and the last but one of the second must "
        "agree: check the shapes, or transpose one with .T or .swapaxes."
    )


def _broadcast(arrays: Sequence[Any]) -> bool:
    """Whether the operands' shapes broadcast."""
    try:
        np.broadcast_shapes(*map(np.shape, arrays))
    except ValueError:
        return False
    return True


def freed_error(entry: Entry) -> RuntimeError:
    """The error of a backward pass that meets an entry which another has freed."""
    return RuntimeError(
        f"the tape was already freed at {entry.name} (entry {entry.order}): a backward "
        "pass frees what it has used, so that memory is available at once, and a "
        "second one finds nothing. Pass retain_graph=True to the first, or compute the "
        "output again."
    )
