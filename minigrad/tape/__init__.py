"""The tape: what is an entry, a Primitive, recording, backward?  The engine.

Every operation on a `Tensor` writes one `Entry`: which primitive, which parent
entries, which arrays its gradient rule will need (`record`). A `Walk` reads the entries
backwards and hands each one's gradient to its parents (`walk`). Read in this order:
`entry`, `primitives`, `record`, `walk`, `writes`, `errors`.
"""

from minigrad.tape.entry import (
    Entry,
    Item,
    Leaf,
    Recording,
    Scope,
    Tensor,
    check_differentiable,
    new_leaf,
    next_order,
    no_grad,
    recording,
    wrap,
)
from minigrad.tape.errors import freed_error
from minigrad.tape.primitives import Primitive
from minigrad.tape.record import primitive, registry
from minigrad.tape.walk import Pending, Recorded, Walk, backward, seed_of
from minigrad.tape.writes import record_write, writes

__all__ = [
    "Entry",
    "Item",
    "Leaf",
    "Pending",
    "Primitive",
    "Recorded",
    "Recording",
    "Scope",
    "Tensor",
    "Walk",
    "backward",
    "check_differentiable",
    "freed_error",
    "new_leaf",
    "next_order",
    "no_grad",
    "primitive",
    "record_write",
    "recording",
    "registry",
    "seed_of",
    "wrap",
    "writes",
]
