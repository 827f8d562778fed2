"""The tape: Tensors, calls of primitives, the graph of entries, the backward pass.

Every operation on a `Tensor` writes one `Entry`: which primitive, which parent entries,
which arrays its gradient rule will need (`record`). A `BackwardPass` goes from the
newest entry to the oldest and hands each one's gradient to its parents (`backward`).
Read in this order: `primitives`, `entry`, `value`, `record`, `backward`, `pending`;
then `recording`, `writes`, `checks`, `errors`.
"""

from minigrad.tape.backward import (
    BackwardPass,
    OnTensors,
    backward,
    full_like,
    seed_of,
)
from minigrad.tape.entry import Entry, Item, Leaf, next_order
from minigrad.tape.errors import freed_error
from minigrad.tape.pending import Pending
from minigrad.tape.primitives import Call, Primitive, Vjp
from minigrad.tape.record import primitive, record, registry
from minigrad.tape.recording import (
    Observer,
    Recording,
    Scope,
    check_values,
    depend_on,
    no_grad,
    recording,
    tell,
)
from minigrad.tape.value import (
    Live,
    TensorBase,
    array_of,
    check_differentiable,
    constant,
    make_results,
    new_leaf,
    plain_array,
    read,
    with_shape,
    wrap,
)
from minigrad.tape.writes import record_write, writes

__all__ = [
    "BackwardPass",
    "Call",
    "Entry",
    "Item",
    "Leaf",
    "Live",
    "Observer",
    "OnTensors",
    "Pending",
    "Primitive",
    "Recording",
    "Scope",
    "TensorBase",
    "Vjp",
    "array_of",
    "backward",
    "check_differentiable",
    "check_values",
    "constant",
    "depend_on",
    "freed_error",
    "full_like",
    "make_results",
    "new_leaf",
    "next_order",
    "no_grad",
    "plain_array",
    "primitive",
    "read",
    "record",
    "record_write",
    "recording",
    "registry",
    "seed_of",
    "tell",
    "with_shape",
    "wrap",
    "writes",
]
