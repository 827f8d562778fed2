"""Which network is looked into? SqueezeNet 1.1, small enough to be read in a minute.

Its layers stand where torchvision's stand, so that `nn.load_torch_state_dict` takes the
published weights.

Glossary of shapes: N batch, C channels, (H, W) picture; pictures are normalised RGB.

Source: Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
(2016), figure 2; version 1.1, which pools earlier, is the authors' own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
import nn

CLASSES = 1000

# Of ImageNet's pictures, for red, green and blue.
MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])


def normalize(pictures: np.ndarray) -> np.ndarray:
    """Turn 8-bit pictures into what the network reads.

    Shapes: (N, H, W, 3) uint8 -> (N, 3, H, W) float32.
    """
    scaled = (pictures / 255.0 - MEAN) / DEVIATION
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype="float32")


class Fire(nn.Module):
    """Few channels first, then many: by windows of one element, and of 3 x 3.

    Shapes: x (N, C, H, W), output (N, 2 * expand, H, W).
    """

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Any) -> Any:
        """Squeeze, then expand in both ways side by side."""
        few = mg.relu(self.squeeze(x))
        both = [self.expand1x1(few), self.expand3x3(few)]
        return mg.relu(mg.concatenate(both, axis=1))


class SqueezeNet(nn.Module):
    """Pictures -> scores of ImageNet's 1,000 classes, not normalised.

    Shapes: x (N, 3, H, W) with H and W at least 17, output (N, 1000).
    """

    def __init__(self) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2),
            mg.relu,
            _pool(),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            _pool(),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            _pool(),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(512, CLASSES, 1), mg.relu
        )

    def forward(self, x: Any) -> Any:
        """Score every class: the mean of its map over the picture."""
        return self.classifier(self.features(x)).mean(axis=(2, 3))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
