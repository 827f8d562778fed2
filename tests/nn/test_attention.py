"""Does attention look where it may, and only there? And in blocks just the same?"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from nn.attention import scaled_dot_product_attention as attend
from nn.embedding import sinusoids
from tests.devices import put
from tests.nn.reference import outputs_of, says, tape_gradients

pytestmark = pytest.mark.usefixtures("device")

seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 7)


def formula(q, k, v, allowed):
    """Equation 1 for one query after the other; zeros where nothing is allowed."""
    shape = (*np.broadcast_shapes(q.shape[:-2], k.shape[:-2]), q.shape[-2], v.shape[-1])
    output = np.zeros(shape)
    allowed = np.broadcast_to(allowed, (*shape[:-1], k.shape[-2]))
    for index in np.ndindex(shape[:-1]):
        seen = np.flatnonzero(allowed[index])
        keys, values = k[index[:-1]][seen], v[index[:-1]][seen]
        powers = np.exp(keys @ q[index] / np.sqrt(q.shape[-1]))
        if len(seen):
            output[index] = powers @ values / powers.sum()
    return output


@st.composite
def cases(draw):
    """Queries, keys, values, a mask or none, and whether the past alone is seen."""
    T, causal = draw(lengths), draw(st.booleans())
    S = T if causal else draw(lengths)
    random = np.random.default_rng(draw(seeds))
    E, M = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shapes = [(2, T, E), (2, S, E), (2, S, M)]
    mask = None
    if draw(st.booleans()):
        rows, columns = draw(st.sampled_from([1, T])), draw(st.sampled_from([1, S]))
        shape = draw(st.sampled_from([(rows, columns), (2, rows, columns)]))
        mask = random.random(shape) < draw(st.floats(0, 1))
    return [random.standard_normal(shape) for shape in shapes], mask, causal


def allowed_by(arrays, mask, causal):
    T, S = arrays[0].shape[-2], arrays[1].shape[-2]
    allowed = np.tri(T, S, dtype=bool) if causal else np.ones((T, S), bool)
    return allowed if mask is None else allowed & mask


@given(case=cases())
def test_it_is_the_formula(case):
    arrays, mask, causal = case
    output = attend(*map(put, map(mg.Tensor, arrays)), mask, causal=causal)
    expected = formula(*arrays, allowed_by(*case))
    np.testing.assert_allclose(output.numpy(), expected, rtol=1e-10, atol=1e-12)


def gradients(arrays, mask, **settings):
    """The output, and the gradient of every operand."""

    def f(*tensors):
        return attend(*tensors, mask, **settings)

    (output,) = outputs_of(f, arrays)
    weights = np.cos(np.arange(output.size)).reshape(output.shape)
    return [output, *tape_gradients(f, arrays, [weights])]


@given(case=cases(), chunk=st.integers(1, 8))
def test_blocks_change_nothing(case, chunk):
    arrays, mask, causal = case
    whole = gradients(arrays, mask, causal=causal)
    parts = gradients(arrays, mask, causal=causal, chunk=chunk)
    for part, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-10)


@given(case=cases(), chunk=st.sampled_from([None, 1, 3]))
def test_what_may_not_be_seen_has_no_influence(case, chunk):
    arrays, mask, causal = case
    unseen = ~allowed_by(*case).any(axis=-2)
    if unseen.ndim == 1:
        unseen = np.stack([unseen, unseen])
    q, k, v = arrays
    others = [q, *(np.where(unseen[..., None], 1e3, a) for a in (k, v))]
    settings = {"causal": causal, "chunk": chunk}
    before, after = (gradients(a, mask, **settings) for a in (arrays, others))
    np.testing.assert_array_equal(after[0], before[0])
    for gradient in after[2:]:
        np.testing.assert_array_equal(gradient[unseen], 0)


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_query_that_may_look_at_nothing_gets_zeros(chunk):
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((3, 4)) * 1e4 for _ in range(3)]
    mask = np.array([[True] * 3, [False] * 3, [True] * 3])
    output, *found = gradients(arrays, mask, chunk=chunk)
    np.testing.assert_array_equal(output[1], 0)
    assert np.isfinite(output).all()
    np.testing.assert_array_equal(found[0][1], 0)
    assert all(np.isfinite(gradient).all() for gradient in found)


@given(case=cases())
def test_the_weights_mix_the_values(case):
    """They sum to 1, or to 0 for a query that may look at nothing."""
    (q, *_), mask, causal = case
    T, E = q.shape[-2:]
    layer = nn.MultiHeadAttention(E, 2, 3, dtype="float64").to(put(mg.zeros(1)).device)
    if mask is not None:
        mask = mask[..., :1] & np.ones(T, bool)
    x = put(mg.Tensor(q))
    weights = layer.weights(x, mask=mask, causal=causal).numpy()
    assert weights.shape == (2, 2, T, T)
    allowed = allowed_by([q, q], mask, causal)
    allowed = np.broadcast_to(allowed, (2, T, T))[:, None]
    np.testing.assert_array_equal(weights * ~allowed, 0)
    some = np.broadcast_to(allowed.any(axis=-1), weights.shape[:-1])
    np.testing.assert_allclose(weights.sum(axis=-1), some, atol=1e-12)


@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_large_scores_keep_their_digits(chunk):
    """Not the logarithm of their sum: in float32 it has none left for equal ones."""
    q = put(mg.Tensor(np.full((3, 4), 1e4, "float32")))
    v = put(mg.Tensor(np.arange(3, dtype="float32")[:, None]))
    np.testing.assert_allclose(attend(q, q, v, chunk=chunk).numpy(), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "settings", "parts"),
    [
        ([(2, 3), (2, 4), (2, 3)], {}, ["attention: k", "(..., S, 3)"]),
        ([(2, 3), (2, 3), (4, 3)], {}, ["attention: v", "(..., 2, M)"]),
        ([(2, 3), (4, 3), (4, 3)], {"causal": True}, ["2 queries and 4 keys"]),
        ([(2, 3), (4, 3), (4, 3)], {"chunk": 0}, ["chunk", "0"]),
        (
            [(2, 3), (4, 3), (4, 3)],
            {"mask": np.ones((2, 3), bool)},
            ["(2, 3)", "(..., 2, 4)", "mask[:, None, None, :]"],
        ),
    ],
)
def test_what_does_not_fit_is_named(shapes, settings, parts):
    with pytest.raises(ValueError, match="attention") as error:
        attend(*[mg.zeros(shape) for shape in shapes], **settings)
    says(error, *parts)


def test_a_mask_of_numbers_is_refused():
    x = mg.zeros((2, 3))
    with pytest.raises(TypeError, match="must be boolean") as error:
        attend(x, x, x, np.ones((2, 2)))
    says(error, "float64", "mask = ids != pad")


# -- several heads -----------------------------------------------------------------


def test_heads_have_widths_of_their_own():
    layer = nn.MultiHeadAttention(128, 2, 96)
    assert layer.Wqkv.shape == (128, 3 * 192)
    assert layer.out.W.shape == (192, 128)
    assert layer(mg.zeros((3, 5, 128), dtype="float32")).shape == (3, 5, 128)


@pytest.mark.only_cpu("NumPy tells tracemalloc of its arrays")
def test_one_product_for_all_three_keeps_no_more_than_three_products():
    """Only the scaled queries are needed later: not the part they were scaled from."""
    layer = nn.MultiHeadAttention(64, 4)
    x, other = mg.ones((8, 50, 64)), mg.ones((8, 50, 64))

    def kept(*operands):
        tracemalloc.start()
        y = layer(*operands)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size + 0 * y.size

    assert kept(x) < kept(x, other) + x.array.nbytes / 2


def test_weights_of_three_matrices_are_refused_by_name():
    """As they were saved before the projections were one matrix."""
    layer = nn.MultiHeadAttention(4, 2)
    state = layer.state_dict()
    del state["Wqkv"], state["bqkv"]
    for name in ("query", "key", "value"):
        state |= {f"{name}.W": np.zeros((4, 4)), f"{name}.b": np.zeros(4)}
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        layer.load_state_dict(state)
    says(error, "missing: Wqkv, bqkv", "unexpected: ", "query.W, query.b, key.W")


def test_heads_are_attentions_side_by_side(device):
    """By hand: project, split, attend for each head, join, project back."""
    generator = mg.Generator(0)
    layer = nn.MultiHeadAttention(4, 2, 3, dtype="float64", generator=generator)
    layer = layer.to(device)
    x = put(mg.Tensor(np.random.default_rng(0).standard_normal((2, 5, 4))))
    packed = x @ layer.Wqkv + layer.bqkv
    heads = []
    for head in (slice(0, 3), slice(3, 6)):
        q, k, v = (part[..., head] for part in mg.split(packed, 3, axis=-1))
        heads.append(attend(q, k, v))
    expected = layer.out(mg.concatenate(heads, axis=-1))
    np.testing.assert_allclose(layer(x).numpy(), expected.numpy(), atol=1e-12)


def test_dropout_takes_weights_away_in_training_only():
    layer = nn.MultiHeadAttention(4, 2, dropout=0.5, generator=mg.Generator(0))
    x = mg.ones((1, 6, 4), dtype="float32")
    assert not np.array_equal(layer(x).numpy(), layer(x).numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), layer(x).numpy())


@pytest.mark.parametrize("chunk", [None, 2])
def test_dropout_drops_weights_and_keeps_their_mean(chunk):
    """Of values of 1, an output is the sum of the weights that are left."""
    rng = np.random.default_rng(0)
    q, k = (put(mg.Tensor(rng.standard_normal((5, 4)))) for _ in "qk")
    v = put(mg.ones((5, 1), dtype="float64"))
    settings = {"dropout": 0.3, "generator": mg.Generator(0), "chunk": chunk}
    found = np.stack([attend(q, k, v, **settings).numpy() for _ in range(4000)])
    np.testing.assert_allclose(found.mean(axis=0), 1, atol=0.05)
    assert found.std() > 0.1
    assert found.max() <= 1 / (1 - 0.3) + 1e-12
    np.testing.assert_allclose(attend(q, k, v, chunk=chunk).numpy(), 1, atol=1e-12)


@pytest.mark.parametrize("chunk", [None, 2])
def test_dropout_drops_the_same_in_the_backward_pass(chunk):
    """The output is linear in the values: its gradient is the weights that mixed it."""
    rng = np.random.default_rng(0)
    q, k, v = (put(mg.Tensor(rng.standard_normal((5, 4)))) for _ in "qkv")
    v.requires_grad = True
    y = attend(q, k, v, dropout=0.5, generator=mg.Generator(0), chunk=chunk)
    y.sum().backward()
    np.testing.assert_allclose((v.grad * v).sum().item(), y.sum().item(), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "settings", "parts"),
    [
        ((5, 2), {}, ["embed_dim 5", "2 heads", "head_dim"]),
        ((4, 0), {}, ["num_heads", "0"]),
    ],
)
def test_heads_that_do_not_fit(arguments, settings, parts):
    with pytest.raises(ValueError, match="MultiHeadAttention") as error:
        nn.MultiHeadAttention(*arguments, **settings)
    says(error, *parts)


# -- positions ---------------------------------------------------------------------


@given(length=st.integers(2, 40), half=st.integers(1, 8), shift=st.integers(1, 20))
def test_waves_tell_distances(length, half, shift):
    """Two places' vectors have a product that depends on their distance alone."""
    waves = sinusoids(length + shift, 2 * half)
    products = (waves[:length] * waves[shift:]).sum(axis=-1)
    np.testing.assert_allclose(products, products[0], atol=1e-9)
    rates = 10_000.0 ** (-np.arange(half) / half)
    np.testing.assert_allclose(products[0], np.cos(shift * rates).sum(), atol=1e-9)


def test_positions_are_added():
    x = mg.ones((2, 3, 4), dtype="float64")
    learned = nn.LearnedPositions(5, 4, dtype="float64")
    np.testing.assert_array_equal(learned(x).numpy()[1], 1 + learned.W.numpy()[:3])
    waves = nn.SinusoidalPositions(4)(x).numpy()
    np.testing.assert_array_equal(waves[0], 1 + sinusoids(3, 4))


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (
            lambda: nn.LearnedPositions(3, 2)(mg.zeros((1, 4, 2))),
            ["4 positions", "3", "Shorten it"],
        ),
        (lambda: nn.SinusoidalPositions(3), ["3", "even"]),
    ],
)
def test_positions_that_do_not_fit(call, parts):
    with pytest.raises(ValueError, match="Positions") as error:
        call()
    says(error, *parts)


# Nothing, and few digits


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("T", "S"), [(0, 3), (3, 0), (0, 0)])
def test_no_positions_give_zeros_and_gradients_of_zeros(T, S, chunk, masked):
    q, k, v = (
        put(mg.Tensor(np.ones((2, n, width)), requires_grad=True))
        for n, width in ((T, 4), (S, 4), (S, 5))
    )
    mask = put(np.ones((T, S), bool)) if masked else None
    y = attend(q, k, v, mask, chunk=chunk)
    np.testing.assert_array_equal(y.numpy(), np.zeros((2, T, 5)))
    y.sum().backward()
    for x in (q, k, v):
        np.testing.assert_array_equal(x.grad.numpy(), np.zeros(x.shape))


@pytest.mark.parametrize("chunk", [None, 2])
def test_several_heads_may_look_at_nothing(chunk):
    layer = put(nn.MultiHeadAttention(4, 2, chunk=chunk))
    bias = layer.out.b.numpy()
    for T, S in ((0, 3), (2, 0)):
        y = layer(put(mg.ones((1, T, 4))), put(mg.ones((1, S, 4))))
        np.testing.assert_allclose(y.numpy(), np.broadcast_to(bias, (1, T, 4)))
        weights = layer.weights(put(mg.ones((1, T, 4))), put(mg.ones((1, S, 4))))
        assert weights.shape == (1, 2, T, S)


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("size", [1.0, 300.0])
def test_float16_is_computed_in_float32(chunk, size):
    rng = np.random.default_rng(0)
    arrays = [(size * rng.standard_normal((2, 3, 8))).astype("float16") for _ in "qkv"]
    results = []
    for dtype in ("float16", "float32"):
        tensors = [put(mg.Tensor(a, dtype, requires_grad=True)) for a in arrays]
        y = attend(*tensors, chunk=chunk)
        wide = y.astype("float32")
        (wide * wide).mean().backward()
        assert y.dtype == dtype
        assert all(np.isfinite(t.grad.numpy()).all() for t in tensors)
        # Where one key takes all, the gradients of q and k are 0 and rounding.
        compared = tensors if size == 1 else tensors[2:]
        results.append([y.numpy(), *(t.grad.numpy() for t in compared)])
    for ours, theirs in zip(*results, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=4e-3, atol=4e-3 * scale)


@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_a_row_that_sees_nothing_has_no_gradient(chunk):
    """Also where scores are large: a row of nothing is not a mean of everything."""
    rng = np.random.default_rng(0)
    mask = put(np.array([[True, False, True], [False] * 3, [False, True, False]]))
    tensors = [
        put(mg.Tensor(1e3 * rng.random((3, 4)), requires_grad=True)) for _ in "qkv"
    ]
    y = attend(*tensors, mask, chunk=chunk)
    (y * y).sum().backward()
    q, k, v = (t.grad.numpy() for t in tensors)
    np.testing.assert_array_equal(y.numpy()[1], 0)
    np.testing.assert_array_equal(q[1], 0)
    assert all(np.isfinite(g).all() for g in (q, k, v))
