"""Reading and writing: checkpoints, safetensors and PyTorch's files."""

from minigrad.io.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from minigrad.io.safetensors import load_safetensors, save_safetensors
from minigrad.io.torch_files import load_torch

__all__ = [
    "Checkpoint",
    "load_checkpoint",
    "load_safetensors",
    "load_torch",
    "save_checkpoint",
    "save_safetensors",
]
