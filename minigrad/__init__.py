"""minigrad: a tape-based autograd framework to be read.  What does it offer?

Read the engine in this order: `backend`, `tape`, `ops`, `functions`, `tensor`,
`transforms`.
"""

from minigrad import testing
from minigrad.functions import (
    asarray,
    dropout,
    einsum,
    full,
    log_softmax,
    mean,
    norm,
    one_hot,
    ones,
    softmax,
    std,
    take,
    var,
    zeros,
)
from minigrad.inspect import (
    detect_anomaly,
    draw,
    explain,
    profile,
    record_lines,
)
from minigrad.io import load_checkpoint, save_checkpoint
from minigrad.ops.elementwise import (
    absolute,
    add,
    clip,
    cos,
    divide,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    subtract,
    tanh,
    where,
)
from minigrad.ops.linalg import matmul
from minigrad.ops.reduce import argmax, argmin, cumsum, logsumexp, max, min, prod, sum
from minigrad.ops.shape import (
    astype,
    broadcast_to,
    concatenate,
    expand_dims,
    flip,
    pad,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
    unstack,
)
from minigrad.random import Generator, default_generator, manual_seed
from minigrad.tape import no_grad, primitive, record_write
from minigrad.tensor import Tensor
from minigrad.transforms import (
    checkpoint,
    grad,
    hessian,
    hvp,
    jvp,
    value_and_grad,
    vjp,
)

abs = absolute
__version__ = "0.1.0"
