"""SqueezeNet 1.1, the network that is looked into.

Its layers stand where torchvision's stand, so that `nn.load_torch_state_dict` takes the
published weights.

Glossary of shapes: N batch, C channels, (H, W) picture; pictures are normalised RGB.

Source: Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
(2016), figure 2; version 1.1, which pools earlier, is the authors' own.
"""

from __future__ import annotations

from typing import Any

import minigrad as mg
import nn

CLASSES = 1000


class Fire(nn.Module):
    """Few channels first, then many: by windows of one element, and of 3 x 3.

    Shapes: x (N, C, H, W), output (N, 2 * expand, H, W).
    """

    def __init__(self, channels: int, squeeze: int, expand: int, dtype: Any) -> None:
        cut: dict[str, Any] = {"relu": True, "dtype": dtype}
        self.squeeze = nn.Conv2d(channels, squeeze, 1, **cut)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1, **cut)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1, **cut)

    def forward(self, x: Any) -> Any:
        """Squeeze, then expand in both ways side by side."""
        few = self.squeeze(x)
        return mg.concatenate([self.expand1x1(few), self.expand3x3(few)], axis=1)


class SqueezeNet(nn.Module):
    """Pictures -> scores of ImageNet's 1,000 classes, not normalised.

    Shapes: x (N, 3, H, W) with H and W at least 17, output (N, 1000).
    """

    def __init__(self, dtype: Any = "float32") -> None:
        pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2, relu=True, dtype=dtype),
            lambda x: x,  # where torchvision's ReLU stands
            pool,
            Fire(64, 16, 64, dtype),
            Fire(128, 16, 64, dtype),
            pool,
            Fire(128, 32, 128, dtype),
            Fire(256, 32, 128, dtype),
            pool,
            Fire(256, 48, 192, dtype),
            Fire(384, 48, 192, dtype),
            Fire(384, 64, 256, dtype),
            Fire(512, 64, 256, dtype),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(512, CLASSES, 1, relu=True, dtype=dtype)
        )

    def forward(self, x: Any) -> Any:
        """Score every class."""
        return self.classified(self.features(x))

    def classified(self, features: Any) -> Any:
        """Score features (N, 512, P, Q): each class by the mean of its map."""
        return self.classifier(features).mean(axis=(2, 3))
