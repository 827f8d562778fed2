"""Explanation of a verdict: the attention weights, and each word's attribution.

Attention says from which words each word takes something; the gradient, how the verdict
would move if a word's vector did. Neither is a proof of what the network "thinks".
Sources: Vaswani et al., Attention Is All You Need (2017), figure 3; Li et al.,
Visualizing and Understanding Neural Models in NLP (2016), section 5 (saliency).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import minigrad as mg
from apps.cola.reading import Reading
from apps.cola.train import Trained
from apps.console import say
from apps.printable import printable
from apps.report import COLOURS
from apps.tables import Table, print_table

# Wide enough to be legible on a phone.
COLUMNS, SIDE, LAST = 2, 4.4, 3.0  # heads side by side; inches; of the last row
# More would take gigabytes to draw, and be illegible.
MOST_POSITIONS, MOST_HEADS, LONGEST = 64, 64, 24  # letters


class Outline(NamedTuple):
    """The positions of a verdict that are shown, long words cut.

    Shapes: P positions; attribution (P,), attention, for each layer, (H, P, P).
    """

    tokens: Sequence[str]
    attribution: np.ndarray
    attention: Sequence[np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """A sentence, how likely it is to be acceptable, and why.

    Shapes: attention, for each layer, (H, T, T), each query's weights over the keys;
    attribution (T,), the norm of the gradient of the log-odds by each word's vector
    (for runs of words, the size of each contribution), together 1.
    """

    text: str
    reading: Reading
    probability: float
    attention: Sequence[np.ndarray]
    attribution: np.ndarray

    @property
    def summary(self) -> str:
        """The verdict in words."""
        word = "acceptable" if self.probability >= 0.5 else "not acceptable"
        return f"{word} (probability of being acceptable {self.probability:.2f})"

    @property
    def warnings(self) -> list[str]:
        """What the judge did not read, and what is not shown."""
        reading, warnings = self.reading, []
        if reading.cut:
            warnings.append(
                f"The sentence is too long: its last {reading.cut} words were cut off."
            )
        if reading.unknown == reading.words:
            warnings.append("None of its words is known, so this is a guess.")
        elif reading.unknown:
            warnings.append(f"Of its words, {reading.unknown} are not known.")
        if len(reading.tokens) > MOST_POSITIONS:
            warnings.append(
                f"Of {len(reading.tokens):,} positions, the {MOST_POSITIONS} with the "
                "largest attribution are shown."
            )
        return warnings

    @property
    def outline(self) -> Outline:
        """What can be shown of it."""
        largest = np.argsort(-self.attribution, kind="stable")[:MOST_POSITIONS]
        shown = np.sort(largest)
        tokens = [self.reading.tokens[position] for position in shown]
        return Outline(
            [t if len(t) <= LONGEST else f"{t[: LONGEST - 1]}…" for t in tokens],
            self.attribution[shown],
            [layer[:, shown][:, :, shown] for layer in self.attention],
        )


def judge(trained: Trained, text: str) -> Verdict:
    """Judge one sentence and see how. Raises: SentenceError for one without words."""
    reading = trained.reader.read(text)
    ids = trained.reader.rows([reading])
    model, length = trained.model.eval(), len(reading.ids)
    x = model.embed(ids).detach()
    vectors = mg.Tensor(x.numpy(), device=x.device, requires_grad=True)
    odds = model.judge(vectors, ids)
    (gradient,) = mg.grad(odds.sum(), [vectors])
    sizes = model.attributions(vectors.numpy(), gradient.numpy())[0, :length]
    attention = [layer[0, :, :length, :length] for layer in model.attention(ids)]
    probability = float(mg.sigmoid(odds).numpy()[0])
    attribution = sizes / max(sizes.sum(), np.finfo(sizes.dtype).tiny)
    return Verdict(text, reading, probability, attention, attribution)


def print_verdict(verdict: Verdict, console: Console) -> None:
    """Print the verdict, each word's attribution, and what each attends to."""
    for line in (verdict.text, verdict.summary, *verdict.warnings):
        say(line, console)
    tokens, attribution, attention = verdict.outline
    bars = np.round(8 * attribution / max(attribution.max(), 1e-12)).astype(int)
    rows = [
        (token, f"{'█' * bar:8} {own:.0%}")
        for token, bar, own in zip(tokens, bars, attribution, strict=True)
    ]
    print_table(Table(("word", "attribution"), rows), console)
    for number, layer in enumerate(attention, start=1):
        say(f"What each word attends to most, in layer {number}:", console)
        print_table(_attended(layer, tokens), console)


def _attended(layer: np.ndarray, tokens: Sequence[str]) -> Table:
    """The key of each query's largest weight, head by head."""
    columns = [
        [f"{tokens[key]} {head[query, key]:.0%}" for query, key in enumerate(keys)]
        for head, keys in zip(layer, layer.argmax(axis=-1), strict=True)
    ]
    heading = ("word", *(f"head {h}" for h in range(1, len(layer) + 1)))
    return Table(heading, [*zip(tokens, *columns, strict=True)])


def draw(verdict: Verdict) -> Figure:
    """Draw each head's attention, and each word's attribution."""
    outline = verdict.outline
    # Axes create their labels when they are drawn.
    tokens = [printable(token) for token in outline.tokens]
    heads = [
        (f"layer {number}, head {h}", head)
        for number, layer in enumerate(outline.attention, start=1)
        for h, head in enumerate(layer, start=1)
    ][:MOST_HEADS]
    rows = -(-len(heads) // COLUMNS)
    figure = Figure((COLUMNS * SIDE, rows * SIDE + LAST), layout="constrained")
    grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[*[SIDE] * rows, LAST])
    font, ticks = min(11, 40 * SIDE / max(1, len(tokens))), range(len(tokens))
    for number, (name, head) in enumerate(heads):
        axis = figure.add_subplot(grid[divmod(number, COLUMNS)])
        axis.imshow(head, cmap="Blues", vmin=0, vmax=1)
        axis.set_title(name, fontsize=12)
        axis.set_xticks(ticks, tokens, rotation=90, fontsize=font)
        axis.set_yticks(ticks, tokens, fontsize=font)
    axis = figure.add_subplot(grid[-1, :])
    axis.bar(ticks, outline.attribution, color=COLOURS[0])
    axis.set_xticks(ticks, tokens, rotation=90, fontsize=font)
    axis.set_ylabel("attribution", fontsize=12)
    axis.spines[["top", "right"]].set_visible(False)
    return figure
