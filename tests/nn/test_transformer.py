"""Do layers of the Transformer keep what attention promises?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from tests.devices import put
from tests.nn.reference import says

pytestmark = pytest.mark.usefixtures("device")

D, HEADS, F = 4, 2, 3
seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 6)


def encoder(seed, **settings):
    """Two layers, one post-norm and one pre-norm, and a last normalisation."""
    generator = mg.Generator(seed)
    layers = [
        nn.TransformerEncoderLayer(
            D, HEADS, F, norm_first=first, dtype="float64", generator=generator
        )
        for first in (False, True)
    ]
    return on_device(nn.TransformerEncoder(layers, nn.LayerNorm(D, dtype="float64")))


def decoder(seed):
    generator = mg.Generator(seed)
    layers = [
        nn.TransformerDecoderLayer(
            D, HEADS, F, norm_first=first, dtype="float64", generator=generator
        )
        for first in (False, True)
    ]
    return on_device(nn.TransformerDecoder(layers, nn.LayerNorm(D, dtype="float64")))


def on_device(module):
    return module.to(put(mg.zeros(1)).device)


def normals(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def run(module, *inputs, **settings):
    return module(*[put(mg.Tensor(x)) for x in inputs], **settings).numpy()


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@given(seed=seeds, T=lengths, S=lengths, data=st.data())
def test_the_past_knows_nothing_of_the_future(seed, T, S, data):
    now = data.draw(st.integers(1, T))
    x, other, memory = (
        normals(seed, 2, T, D),
        normals(seed + 1, 2, T, D),
        normals(seed, 2, S, D),
    )
    other[:, :now] = x[:, :now]
    read, write = encoder(seed), decoder(seed)
    first, second = (run(read, y, causal=True)[:, :now] for y in (x, other))
    assert_close(first, second)
    first, second = (run(write, y, memory)[:, :now] for y in (x, other))
    assert_close(first, second)


@given(seed=seeds, N=st.integers(1, 4), T=lengths)
def test_permuting_the_batch_permutes_the_output(seed, N, T):
    order = np.random.default_rng(seed).permutation(N)
    x, memory, words = (
        normals(seed, N, T, D),
        normals(seed + 1, N, 3, D),
        normals(seed, N, T) > 0,
    )
    mask = words[:, None]
    read, write = encoder(seed), decoder(seed)
    assert_close(run(read, x[order], mask=mask[order]), run(read, x, mask=mask)[order])
    assert_close(run(write, x[order], memory[order]), run(write, x, memory)[order])


@given(seed=seeds, T=lengths, more=st.integers(1, 4))
def test_padding_never_changes_an_answer(seed, T, more):
    """Whatever stands in it, and however much of it there is."""
    x, padding, memory = (
        normals(seed, 2, T, D),
        normals(seed + 1, 2, more, D),
        normals(seed, 2, 3, D),
    )
    padded = np.concatenate([x, 10 * padding], axis=1)
    mask = np.broadcast_to(np.arange(T + more) < T, (2, 1, T + more))
    read, write = encoder(seed), decoder(seed)
    assert_close(run(read, padded, mask=mask)[:, :T], run(read, x))
    assert_close(run(write, memory, padded, memory_mask=mask), run(write, memory, x))
    assert_close(run(write, padded, memory, mask=mask)[:, :T], run(write, x, memory))


@given(seed=seeds, T=lengths)
def test_without_positions_order_means_nothing(seed, T):
    order = np.random.default_rng(seed).permutation(T)
    x, read = normals(seed, 2, T, D), encoder(seed)
    assert_close(run(read, x[:, order]), run(read, x)[:, order])


@given(seed=seeds, T=lengths, chunk=st.integers(1, 7), causal=st.booleans())
def test_blocks_change_nothing(seed, T, chunk, causal):
    x, mask = normals(seed, 2, T, D), (normals(seed, 2, T) > 0)[:, None]
    read = encoder(seed)
    whole = run(read, x, mask=mask, causal=causal)
    for layer in read.layers:
        layer.attention.chunk = chunk
    assert_close(run(read, x, mask=mask, causal=causal), whole)


@given(
    seed=seeds, size=st.integers(1, 6), shift=st.floats(-9, 9), scale=st.floats(0.1, 9)
)
def test_normalising_forgets_where_and_how_large(seed, size, shift, scale):
    layer = on_device(nn.LayerNorm(size, eps=0.0, dtype="float64"))
    x = normals(seed, 3, size) + np.arange(size)
    if size == 1:
        return
    found = run(layer, x)
    np.testing.assert_allclose(found.mean(axis=-1), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(axis=-1), 1, atol=1e-9)
    np.testing.assert_allclose(run(layer, x * scale + shift), found, atol=1e-7)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_layer_is_its_two_parts(norm_first):
    layer = nn.TransformerEncoderLayer(
        D, HEADS, F, norm_first=norm_first, dtype="float64"
    )
    layer = on_device(layer)
    x = put(mg.Tensor(normals(0, 2, 3, D)))
    first, second = layer.attention_norm, layer.feed_forward_norm
    if norm_first:
        y = x + layer.attention(first(x))
        expected = y + layer.feed_forward(second(y))
    else:
        y = first(x + layer.attention(x))
        expected = second(y + layer.feed_forward(y))
    assert_close(layer(x).numpy(), expected.numpy())


def test_dropout_is_in_every_part():
    layer = nn.TransformerDecoderLayer(D, HEADS, F, dropout=0.5, norm_first=True)
    x, memory = mg.ones((1, 3, D), dtype="float32"), mg.ones((1, 2, D), dtype="float32")
    assert not np.array_equal(layer(x, memory).numpy(), layer(x, memory).numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x, memory).numpy(), layer(x, memory).numpy())


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (
            lambda: nn.FeedForward(2, 3, "tanh"),
            ["FeedForward", "'tanh'", "'relu', 'gelu'"],
        ),
        (lambda: nn.TransformerEncoder([]), ["TransformerEncoder", "layers"]),
        (lambda: nn.TransformerDecoder([]), ["TransformerDecoder", "layers"]),
        (lambda: nn.LayerNorm(0), ["LayerNorm", "size"]),
        (lambda: nn.LayerNorm(3)(mg.zeros((2, 4))), ["layer_norm", "(..., 3)"]),
    ],
)
def test_what_does_not_fit_is_named(call, parts):
    with pytest.raises(ValueError, match=parts[0]) as error:
        call()
    says(error, *parts)
