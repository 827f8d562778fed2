"""The dtypes that layers compute in: floats as they are, and float16 in float32.

Lists and whole numbers become floats of the dtype that the layer's other operands have.
Where sums or squares could overflow, float16 is computed in float32 and given back.
"""

import contextlib
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.backend import is_array
from minigrad.ops.sources import beside
from minigrad.tape import plain_array
from nn.checks import array_of, check_shapes, parsed


def floats(layer: str, shapes: str, *values: Any) -> list[Any]:
    """Give every value as a Tensor or array of floats, of shapes as `check_shapes` has.

    Lists and whole numbers take the dtype of the operands that are floats, and lists
    their device; where none is, lists become float32 and arrays of integers floats of
    enough digits.

    Raises: TypeError for what is no array of real numbers; ValueError for its shape.
    """
    ready = [x for x in values if _is_float(x)]
    given = list(values)
    if len(ready) < len(given):
        for i, (name, _, optional) in enumerate(parsed(shapes)):
            if not (_is_float(given[i]) or (optional and given[i] is None)):
                given[i] = _as_float(numbers(layer, name, given[i]), given[i], ready)
    check_shapes(layer, shapes, *given)
    return given


def numbers(layer: str, name: str, value: Any) -> Any:
    """Give a Tensor or array of real numbers; lists as floats.

    Raises: TypeError for what is none.
    """
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        array = value if isinstance(value, mg.Tensor) else plain_array(value)
        if array.dtype.kind in "biuf":
            return array
    what = f"a {type(value).__name__}"
    if isinstance(value, list | tuple) and any(isinstance(v, mg.Tensor) for v in value):
        what += " of Tensors, whose gradients a list would lose: join them by mg.stack"
    elif hasattr(value, "dtype"):
        what += f" of dtype {value.dtype}"
    raise TypeError(
        f"{layer}: {name} is {what}. Give a Tensor, an array or a rectangular list of "
        "real numbers."
    )


def wide(x: Any) -> Any:
    """Give float16 as float32, whose sums and squares do not overflow so soon."""
    return mg.astype(x, dtype="float32") if x.dtype == np.float16 else x


def narrow(x: Any, *like: Any) -> Any:
    """Give a result in the dtype that these operands have together."""
    dtype = np.result_type(*(operand.dtype for operand in like))
    return x if x.dtype == dtype else mg.astype(x, dtype=dtype)


def _is_float(x: Any) -> bool:
    if isinstance(x, mg.Tensor):
        # Complex steps, the gradient checker's most exact oracle, need complex Tensors.
        return x.array.dtype.kind in "fc"
    return is_array(x) and x.dtype.kind == "f"


def _as_float(array: Any, value: Any, ready: list[Any]) -> Any:
    """Floats of the dtype of those that are ready."""
    wanted = np.result_type(*(x.dtype for x in ready)) if ready else None
    if hasattr(value, "dtype"):
        dtype = wanted or np.promote_types(array.dtype, np.float32)
        return mg.astype(array, dtype=dtype)
    # A list is not rounded to float32 on its way, and goes where the others are.
    converted = plain_array(value, wanted or "float32")
    return beside(converted, array_of(ready[0])) if ready else converted
