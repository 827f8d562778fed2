"""Saliency maps, and a check that they depend on what was learned.

Glossary of shapes: N batch, (H, W) picture; pictures are normalised, classes (N,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

import minigrad as mg
import nn
from apps.image_gradients.gradients import (
    device_of,
    frozen,
    score_of,
    scores_of,
    with_gradient,
)
from apps.image_gradients.pictures import valid_range
from apps.image_gradients.squeezenet import SqueezeNet

Method = Callable[[SqueezeNet, np.ndarray, np.ndarray], np.ndarray]


def gradient_map(network: SqueezeNet, x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How much the class's score changes with each pixel: the largest of its channels.

    The score is the one before any softmax. Shapes: (N, 3, H, W) -> (N, H, W), >= 0.
    Source: Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks (2014),
    section 3.
    """
    _, g = with_gradient(network, x, score_of(classes))
    return np.abs(g).max(axis=1)


def smooth_grad(
    network: SqueezeNet,
    x: np.ndarray,
    classes: np.ndarray,
    *,
    copies: int = 25,
    noise: float = 0.15,
    generator: mg.Generator | None = None,
) -> np.ndarray:
    """The mean of `gradient_map` over noisy copies, in which what one copy has goes.

    `noise` is the standard deviation, as a fraction of each picture's range.
    Shapes: (N, 3, H, W) -> (N, H, W), >= 0.
    Source: Smilkov et al., SmoothGrad: removing noise by adding noise (2017).
    """
    generator = generator or mg.Generator(0)
    spread = np.ptp(x, axis=(1, 2, 3), keepdims=True) * np.float32(noise)
    total = np.zeros((len(x), *x.shape[2:]), x.dtype)
    for _ in range(copies):
        noisy = x + spread * generator.normal(x.shape)
        total += gradient_map(network, noisy, classes)
    return total / copies


@dataclass(frozen=True)
class Attribution:
    """What each number of a picture adds to its class's score, beside a baseline.

    `attributed` should add up to `gained`, what the score gains from the baseline to
    the picture; `steps` is the number of points between.
    Shapes: attributed (N, 3, H, W), gained (N,).
    """

    attributed: np.ndarray
    gained: np.ndarray
    steps: int

    @property
    def map(self) -> np.ndarray:
        """What each pixel adds. Shapes: -> (N, H, W), of both signs."""
        return self.attributed.sum(axis=1)

    @property
    def total(self) -> np.ndarray:
        """The sum of each picture's attributions. Shapes: (N,)."""
        return self.attributed.sum(axis=(1, 2, 3), dtype=np.float64)

    @property
    def gap(self) -> np.ndarray:
        """How much the sum misses what was gained, as a fraction of it. Shapes: (N,).

        Less than a point of score gained counts as one: any miss of it is large.
        """
        return np.abs(self.total - self.gained) / np.maximum(np.abs(self.gained), 1)


def integrated_gradients(
    network: SqueezeNet,
    x: np.ndarray,
    classes: np.ndarray,
    *,
    tolerance: float = 0.05,
    most: int = 512,
) -> Attribution:
    """Gradients from a black picture to this one, averaged, times what was changed.

    They are complete: they add up to what the score gains on the way. The mean is taken
    over 16 points between, then over twice as many, until the sum misses the gain by no
    more than `tolerance` of it (the authors' 5 %), or there are `most`.
    Source: Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks (2017),
    section 3, and proposition 1 for completeness.
    """
    change = x - valid_range()[0].astype(x.dtype)
    pick = np.arange(len(x)), classes
    before, after = (scores_of(network, at)[pick] for at in (x - change, x))
    gained = after - before
    steps = 16
    while True:
        # The mean over the middles of equal steps on a straight line.
        total = np.zeros(x.shape, np.float64)
        for step in range(steps):
            left = np.float32(1 - (step + 0.5) / steps)
            total += with_gradient(network, x - left * change, score_of(classes))[1]
        mean = (total / steps).astype(x.dtype)
        result = Attribution(change * mean, gained.astype(np.float64), steps)
        if steps >= most or result.gap.max(initial=0) <= tolerance:
            return result
        steps *= 2


def grad_cam(network: SqueezeNet, x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Where features that speak for the class are, coarsely.

    The last features, each weighed by its mean gradient, summed; what speaks against
    the class is left out. Shapes: (N, 3, H, W) -> (N, H, W), >= 0.
    Source: Selvaraju et al., Grad-CAM (2017), equations 1 and 2.
    """
    with mg.no_grad():
        found = network.features(mg.Tensor(x, device=device_of(network)))
    features = mg.Tensor(found.data, requires_grad=True)
    scores = network.classified(features)
    score_of(classes)(scores).sum().backward()
    assert features.grad is not None
    weights = features.grad.numpy().mean(axis=(2, 3), keepdims=True)
    cams = np.maximum((weights * features.numpy()).sum(axis=1), 0)
    return np.stack([enlarged(cam, x.shape[2:]) for cam in cams])


def enlarged(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map at another size, bilinear. Shapes: (H, W) -> shape."""
    height, width = shape
    image = Image.fromarray(np.asarray(a, dtype="float32"))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Whether two maps order their pixels alike: 1 if so, 0 by chance, NaN if constant.

    Source: Spearman, The Proof and Measurement of Association between Two Things
    (1904); ties have their mean rank.
    """
    first, second = (_ranks(np.asarray(m).ravel()) for m in (a, b))
    first, second = first - first.mean(), second - second.mean()
    size = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / size) if size > 0 else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last - 1) / 2.0)[place]


def randomized(
    network: SqueezeNet, generator: mg.Generator
) -> Iterator[tuple[str, SqueezeNet]]:
    """The network with shuffled weights from its last layer on, layer by layer.

    Yields (the last layer that was shuffled, the network): one network, which changes
    from one to the next.
    """
    copy = frozen(SqueezeNet().to(device_of(network)))
    copy.load_state_dict(network.state_dict())
    layers = {
        f"{room}.{number}": layer
        for room in ("features", "classifier")
        for number, layer in enumerate(getattr(copy, room))
    }
    for name, layer in reversed(layers.items()):
        if not isinstance(layer, nn.Module) or not any(layer.named_parameters()):
            continue
        state = {key: array.numpy() for key, array in layer.named_parameters()}
        for key, w in state.items():
            state[key] = w.ravel()[generator.permutation(w.size)].reshape(w.shape)
        layer.load_state_dict(state)
        yield name, copy


def sanity_check(
    network: SqueezeNet,
    x: np.ndarray,
    classes: np.ndarray,
    methods: Mapping[str, Method],
    generator: mg.Generator,
    progress: Callable[[str], None] = lambda layer: None,
) -> list[tuple[str, dict[str, float]]]:
    """How alike maps stay while the network loses what it has learned.

    Returns for each layer that was shuffled, the last first, each method's mean rank
    correlation with its own map of the trained network.
    Source: Adebayo et al., Sanity Checks for Saliency Maps (2018), section 3.
    """
    trained = {name: method(network, x, classes) for name, method in methods.items()}
    result = []
    for layer, broken in randomized(network, generator):
        alike = {}
        for name, method in methods.items():
            pairs = zip(method(broken, x, classes), trained[name], strict=True)
            # A map without any difference is like no other.
            found = np.nan_to_num([rank_correlation(*pair) for pair in pairs])
            alike[name] = float(np.mean(found))
        result.append((layer, alike))
        progress(layer)
    return result


def edges(_: SqueezeNet, x: np.ndarray, __: np.ndarray) -> np.ndarray:
    """How much the picture changes at each pixel. Shapes: as `gradient_map`."""
    down, across = np.gradient(x.mean(axis=1), axis=(1, 2))
    return np.hypot(down, across)


METHODS: dict[str, Method] = {
    "gradient": gradient_map,
    "smoothgrad": smooth_grad,
    "integrated": lambda *given: integrated_gradients(*given).map,
    "grad-cam": grad_cam,
}

# The same, with fewer points, for the check, which asks ten networks; and a map that
# has to fail it.
CHECKED: dict[str, Method] = {
    "gradient": gradient_map,
    "smoothgrad": lambda *given: smooth_grad(*given, copies=8),
    "integrated": lambda *given: np.abs(integrated_gradients(*given, most=16).map),
    "grad-cam": grad_cam,
    "edges, no network": edges,
}
