"""What do the committed files hold that `torch.save` wrote?"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

CONTAINERS = {"zip.pth": True, "legacy.pth": False}
TAGGER = "tagger.pth"
NEWER = ("uint16", "uint32", "uint64")  # PyTorch itself reads them from zip only


def make_content(torch: Any, is_zip: bool) -> dict[str, Any]:
    """Every kind of tensor and of container that is read."""
    whole = torch.arange(12.0).reshape(3, 4)
    numbers = torch.tensor([0, 1, 2, 100])
    newer = {name: numbers.to(getattr(torch, name)) for name in NEWER if is_zip}
    return {
        "float64": torch.tensor([1.5, -2.5], dtype=torch.float64),
        "float32": whole,
        "transposed": whole.t(),
        "a part": whole[1:, 1::2],
        "expanded": torch.tensor([7.0]).expand(2, 3),
        "no axes": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "float16": numbers.to(torch.float16),
        "bfloat16": torch.tensor([1.0, 0.1, -3e38]).to(torch.bfloat16),
        "int64": numbers,
        "int32": numbers.to(torch.int32),
        "int16": numbers.to(torch.int16),
        "int8": -numbers.to(torch.int8),
        "uint8": numbers.to(torch.uint8),
        "bool": torch.tensor([True, False]),
        "complex64": torch.tensor([1 + 2j]),
        "ordered": collections.OrderedDict(b=1, a=-2.5),
        "nested": {"list": [1, (2, 3), None, True], 0: "né", "none": ()},
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "large": 10**20,
        "size": torch.Size([2, 3]),
        "device": torch.device("cuda", 1),
        "dtype": torch.float16,
        **newer,
    }


def content(is_zip: bool) -> dict[str, Any]:
    """The same, as it is read without PyTorch."""
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    numbers = np.array([0, 1, 2, 100])
    upper_halves = np.array([0x3F80, 0x3DCD, 0xFF62], np.uint32)
    integers = ["int32", "int16", "uint8", "float16", *(NEWER if is_zip else ())]
    return {
        "float64": np.array([1.5, -2.5]),
        "float32": whole,
        "transposed": whole.T,
        "a part": whole[1:, 1::2],
        "expanded": np.full((2, 3), 7, np.float32),
        "no axes": np.array(3.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": np.ones(2, np.float32),
        "bfloat16": (upper_halves << 16).view(np.float32),
        "int64": numbers,
        "int8": -numbers.astype(np.int8),
        "bool": np.array([True, False]),
        "complex64": np.array([1 + 2j], np.complex64),
        "ordered": {"b": 1, "a": -2.5},
        "nested": {"list": [1, (2, 3), None, True], 0: "né", "none": ()},
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "large": 10**20,
        "size": (2, 3),
        "device": "cuda:1",
        "dtype": np.dtype("float16"),
        **{name: numbers.astype(name) for name in integers},
    }


def make_tagger(torch: Any) -> Any:
    """The PyTorch model whose weights the page on PyTorch reads."""
    return torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(10, 4),
            "lstm": torch.nn.LSTM(4, 6, batch_first=True),
            "out": torch.nn.Linear(6, 3),
        }
    )
