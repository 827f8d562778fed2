"""PyTorch's values that the tests compare with, made anew.

Run it by hand, from the root of the project, where PyTorch is installed:

    python -m scripts.make_torch_fixtures

It writes tests/fixtures/torch/: what PyTorch computes in the cases of
tests/interop/cases.py, and small files as `torch.save` writes them; and
tests/fixtures/look/, two photos with the gradients of SqueezeNet's scores by them, for
which the extra "look" has to be installed.
"""

from __future__ import annotations

import numpy as np
import torch

import nn
from apps.image_gradients.pictures import normalize, read, samples
from apps.image_gradients.squeezenet import SqueezeNet
from apps.image_gradients.weights import load
from benchmarks.peers import pytorch
from tests.apps import test_squeezenet
from tests.interop import cases, files, torch_side

SIDE = 96  # pixels: the file is committed


def write_picture_gradients() -> None:
    """Write two photos, their classes, and PyTorch's scores and gradients."""
    chosen = [picture for picture in samples() if picture.name in ("cat", "coffee")]
    pixels = np.stack([read(picture.path, SIDE).pixels for picture in chosen])
    classes = np.array([picture.label for picture in chosen])
    network = SqueezeNet()
    load(network)
    scores, gradients = pytorch.picture_gradients(
        nn.torch_state_dict(network), normalize(pixels), classes
    )
    test_squeezenet.FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        test_squeezenet.FIXTURE,
        pixels=pixels,
        classes=classes,
        scores=scores,
        gradients=gradients,
    )


def main() -> None:
    """Write all fixtures."""
    write_picture_gradients()
    cases.FIXTURES.mkdir(parents=True, exist_ok=True)
    for group, (_, known) in cases.GROUPS.items():
        records = {name: cases.run(torch_side, group, name) for name in known}
        cases.write_fixture(group, records)
    for name, is_zip in files.CONTAINERS.items():
        torch.save(
            files.make_content(torch, is_zip),
            cases.FIXTURES / name,
            _use_new_zipfile_serialization=is_zip,
        )
    torch.manual_seed(0)
    torch.save(files.make_tagger(torch).state_dict(), cases.FIXTURES / files.TAGGER)
    for path in sorted(cases.FIXTURES.iterdir()):
        print(f"{path.name:20} {path.stat().st_size:7} bytes")


if __name__ == "__main__":
    main()
