"""Layers, losses, optimisers and schedules.

`nn.functional` has the layers' computations as plain functions, `nn.init` the
initialisers.
"""

from nn import functional, init
from nn.attention import MultiHeadAttention
from nn.conv import AvgPool2d, Conv2d, MaxPool2d
from nn.dropout import Dropout
from nn.embedding import Embedding, LearnedPositions, SinusoidalPositions
from nn.linear import Linear
from nn.losses import bce_with_logits, cross_entropy, mse_loss, temporal_softmax_loss
from nn.module import Module, ModuleList, Parameter, Sequential
from nn.norm import LayerNorm
from nn.optim import SGD, Adam, AdamW, clip_grad_norm
from nn.optimizer import Optimizer
from nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, LSTMState, RNNCell, unroll
from nn.schedule import CosineWithWarmup, ExponentialDecay, Schedule
from nn.torch_weights import load_torch_state_dict, torch_state_dict
from nn.transformer import (
    FeedForward,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Adam",
    "AdamW",
    "AvgPool2d",
    "Conv2d",
    "CosineWithWarmup",
    "Dropout",
    "Embedding",
    "ExponentialDecay",
    "FeedForward",
    "GRUCell",
    "LSTMCell",
    "LSTMState",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Optimizer",
    "Parameter",
    "RNNCell",
    "Schedule",
    "Sequential",
    "SinusoidalPositions",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "bce_with_logits",
    "clip_grad_norm",
    "cross_entropy",
    "functional",
    "init",
    "load_torch_state_dict",
    "mse_loss",
    "temporal_softmax_loss",
    "torch_state_dict",
    "unroll",
]
