"""The layers' computations as plain functions, in the courses' argument order.

Each stands beside its module; here they are gathered. Every weight multiplies from the
right, `y = x @ W + b`, and sequences are batch-major, (N, T, D).
"""

from nn.attention import scaled_dot_product_attention
from nn.conv import avg_pool2d, conv2d, conv_transpose2d, max_pool2d
from nn.embedding import word_embedding
from nn.linear import linear, temporal_affine
from nn.losses import bce_with_logits, cross_entropy, mse_loss, temporal_softmax_loss
from nn.norm import layer_norm
from nn.recurrent import (
    gru,
    gru_step,
    lstm,
    lstm_sequence,
    lstm_step,
    rnn,
    rnn_step,
    unroll,
)
from nn.transformer import gelu

__all__ = [
    "avg_pool2d",
    "bce_with_logits",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "gelu",
    "gru",
    "gru_step",
    "layer_norm",
    "linear",
    "lstm",
    "lstm_sequence",
    "lstm_step",
    "max_pool2d",
    "mse_loss",
    "rnn",
    "rnn_step",
    "scaled_dot_product_attention",
    "temporal_affine",
    "temporal_softmax_loss",
    "unroll",
    "word_embedding",
]
