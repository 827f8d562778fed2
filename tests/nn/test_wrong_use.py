"""What do layers say of settings and operands that do not fit? Their name, and how."""

import functools
import inspect

import numpy as np
import pytest

import minigrad as mg
import nn
import nn.functional as F
from tests.nn.reference import says

NO_SIZES = (0, -1, 2.0, 2.5, True, None, "3", np.nan, [2], mg.Tensor(2.0))
NO_SHARES = (1, -0.1, 1.5, np.nan, np.inf, None, "0.5", True, [0.5], mg.Tensor(0.5))
NO_POSITIVE = (0, -1.0, np.nan, np.inf, None, "1", True, [1.0], mg.Tensor(1.0))
NO_GENERATORS = (0, np.random.default_rng(0), np.random, np.random.RandomState(0), "x")
NO_DTYPES = ("int32", "float31", bool, "complex64", 3)


def parameters():
    return [nn.Parameter([1.0])]


# How each constructor is called, and the names of its sizes.
SIZES = {
    "Linear": (nn.Linear, ["in_features", "out_features"]),
    "Embedding": (nn.Embedding, ["num_embeddings", "embedding_dim"]),
    "RNN": (nn.RNN, ["input_size", "hidden_size"]),
    "RNNCell": (nn.RNNCell, ["input_size", "hidden_size"]),
    "LSTM": (nn.LSTM, ["input_size", "hidden_size"]),
    "LSTMCell": (nn.LSTMCell, ["input_size", "hidden_size"]),
    "GRU": (nn.GRU, ["input_size", "hidden_size"]),
    "GRUCell": (nn.GRUCell, ["input_size", "hidden_size"]),
    "LayerNorm": (nn.LayerNorm, ["size"]),
    "LearnedPositions": (nn.LearnedPositions, ["max_length", "embed_dim"]),
    "SinusoidalPositions": (nn.SinusoidalPositions, ["embed_dim"]),
    "MultiHeadAttention": (nn.MultiHeadAttention, ["embed_dim", "num_heads"]),
    "FeedForward": (nn.FeedForward, ["embed_dim", "hidden_dim"]),
    "TransformerEncoderLayer": (
        nn.TransformerEncoderLayer,
        ["embed_dim", "num_heads", "hidden_dim"],
    ),
    "TransformerDecoderLayer": (
        nn.TransformerDecoderLayer,
        ["embed_dim", "num_heads", "hidden_dim"],
    ),
    "Conv2d": (nn.Conv2d, ["in_channels", "out_channels", "size"]),
    "MaxPool2d": (nn.MaxPool2d, ["size"]),
    "AvgPool2d": (nn.AvgPool2d, ["size"]),
}
MORE_SIZES = {
    "MultiHeadAttention head_dim": lambda n: nn.MultiHeadAttention(2, 2, n),
    "MultiHeadAttention chunk": lambda n: nn.MultiHeadAttention(2, 2, chunk=n),
    "Conv2d stride": lambda n: nn.Conv2d(2, 2, 2, stride=n),
    "Conv2d dilation": lambda n: nn.Conv2d(2, 2, 2, dilation=n),
    "MaxPool2d stride": lambda n: nn.MaxPool2d(2, stride=n),
    "attention chunk": lambda n: F.scaled_dot_product_attention(
        *[np.ones((1, 2))] * 3, chunk=n
    ),
}
MAY_BE_NONE = {"head_dim", "chunk", "MaxPool2d stride"}
PAIRS = {"Conv2d stride", "Conv2d dilation", "MaxPool2d stride"}  # also of one


def wrong_sizes():
    for kind, (build, names) in SIZES.items():
        for place, name in enumerate(names):
            others = [2] * len(names)
            for wrong in NO_SIZES:
                if name == "size" and kind != "LayerNorm" and wrong in ([2],):
                    continue  # a pair of sides may be given as one
                given = [*others[:place], wrong, *others[place + 1 :]]
                yield pytest.param(
                    build, given, name, wrong, id=f"{kind}-{name}-{wrong}"
                )


@pytest.mark.parametrize(("build", "given", "name", "wrong"), list(wrong_sizes()))
def test_a_size_is_a_positive_integer(build, given, name, wrong):
    with pytest.raises((TypeError, ValueError)) as error:
        build(*given)
    says(error, f"{build.__name__}: {name} is {wrong!r}")


def more_wrong_sizes():
    for name, build in MORE_SIZES.items():
        for wrong in NO_SIZES:
            passes = wrong is None and MAY_BE_NONE & {name, name.split()[1]}
            if not passes and not (name in PAIRS and isinstance(wrong, list)):
                yield pytest.param(build, name.split()[1], wrong, id=f"{name}-{wrong}")


@pytest.mark.parametrize(("build", "name", "wrong"), list(more_wrong_sizes()))
def test_other_sizes_are_positive_integers(build, name, wrong):
    with pytest.raises((TypeError, ValueError)) as error:
        build(wrong)
    says(error, f"{name} is {wrong!r}")


NUMBERS = {
    "Dropout p": (nn.Dropout, NO_SHARES),
    "MultiHeadAttention p": (
        lambda p: nn.MultiHeadAttention(2, 2, dropout=p),
        NO_SHARES,
    ),
    "FeedForward p": (lambda p: nn.FeedForward(2, 2, dropout=p), NO_SHARES),
    "LayerNorm eps": (lambda eps: nn.LayerNorm(2, eps), NO_POSITIVE[1:]),
    "SGD lr": (lambda lr: nn.SGD(parameters(), lr), NO_POSITIVE),
    "SGD momentum": (lambda m: nn.SGD(parameters(), 0.1, m), NO_SHARES),
    "Adam lr": (lambda lr: nn.Adam(parameters(), lr), NO_POSITIVE),
    "Adam betas[0]": (lambda b: nn.Adam(parameters(), betas=(b, 0.9)), NO_SHARES),
    "Adam betas[1]": (lambda b: nn.Adam(parameters(), betas=(0.9, b)), NO_SHARES),
    "Adam eps": (lambda eps: nn.Adam(parameters(), eps=eps), NO_POSITIVE),
    "AdamW weight_decay": (
        lambda w: nn.AdamW(parameters(), weight_decay=w),
        NO_POSITIVE[1:],
    ),
    "clip_grad_norm max_norm": (
        lambda norm: nn.clip_grad_norm(parameters(), norm),
        [n for n in NO_POSITIVE if n is not np.inf],
    ),
    "normal std": (lambda std: nn.init.normal((2,), std=std), NO_POSITIVE[1:]),
    "kaiming_normal gain": (
        lambda gain: nn.init.kaiming_normal((2, 2), gain=gain),
        NO_POSITIVE[1:],
    ),
    "xavier_uniform gain": (
        lambda gain: nn.init.xavier_uniform((2, 2), gain=gain),
        NO_POSITIVE[1:],
    ),
    "orthogonal gain": (
        lambda gain: nn.init.orthogonal((2, 2), gain=gain),
        NO_POSITIVE[1:],
    ),
}


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, w) for name, (_, ws) in NUMBERS.items() for w in ws]
)
def test_a_setting_is_a_number_in_its_range(name, wrong):
    out_of_range = isinstance(wrong, int | float) and not isinstance(wrong, bool)
    with pytest.raises(ValueError if out_of_range else TypeError) as error:
        NUMBERS[name][0](wrong)
    says(error, f"{name.split()[1]} is {wrong!r}", "Give a number with")


@pytest.mark.parametrize("betas", [0.9, None, (0.9,), (0.9, 0.9, 0.9), "no"])
def test_betas_are_a_pair(betas):
    with pytest.raises(TypeError) as error:
        nn.Adam(parameters(), betas=betas)
    says(error, "Adam: betas", "0 <= betas[0] < 1" if betas == "no" else "a pair")


def built_with(setting):
    """Each kind that takes a setting, as a function of it."""
    return [
        pytest.param(functools.partial(_build, build, len(names), setting), id=kind)
        for kind, (build, names) in SIZES.items()
        if setting in inspect.signature(build).parameters
    ]


def _build(build, sizes, setting, value):
    return build(*[2] * sizes, **{setting: value})


INITIALISERS = ("uniform", "normal", "lecun_normal", "xavier_uniform", "orthogonal")
DRAWING = [
    *built_with("generator"),
    pytest.param(lambda g: nn.Dropout(generator=g), id="Dropout"),
    *(
        pytest.param(functools.partial(getattr(nn.init, name), (2, 2)), id=name)
        for name in INITIALISERS
    ),
]


@pytest.mark.parametrize("build", DRAWING)
@pytest.mark.parametrize("wrong", NO_GENERATORS, ids=str)
def test_a_generator_is_minigrads(build, wrong):
    with pytest.raises(TypeError) as error:
        build(wrong)
    says(error, type(wrong).__name__, "not a minigrad Generator")
    says(error, "minigrad.Generator(seed)")


@pytest.mark.parametrize("build", built_with("dtype"))
@pytest.mark.parametrize("wrong", NO_DTYPES, ids=str)
def test_weights_are_floats(build, wrong):
    with pytest.raises(TypeError) as error:
        build(wrong)
    says(error, f"dtype is {wrong!r}", "'float32'")


# Operands

T1 = np.ones((2, 3), "float32")
T2 = np.ones((2, 4, 3), "float32")
PICTURE = np.ones((1, 2, 5, 5), "float32")
IDS = np.zeros((2, 4), int)

CALLS = {  # what takes floats, and a good operand of it
    "linear x": (nn.Linear(3, 2), T1),
    "linear W": (lambda W: F.linear(T1, W), np.ones((3, 2))),
    "linear b": (lambda b: F.linear(T1, np.ones((3, 2)), b), np.ones(2)),
    "temporal_affine x": (
        lambda x: F.temporal_affine(x, np.ones((3, 2)), 0 * T1[0, :2]),
        T2,
    ),
    "word_embedding table": (lambda t: F.word_embedding(IDS, t), T1),
    "gelu x": (F.gelu, T1),
    "rnn x": (nn.RNN(3, 2), T2),
    "rnn h0": (lambda h: nn.RNN(3, 2)(T2, h), T1[:, :2]),
    "rnn_step h": (lambda h: nn.RNNCell(3, 2)(T1, h), T1[:, :2]),
    "lstm x": (nn.LSTM(3, 2), T2),
    "lstm c0": (lambda c: nn.LSTM(3, 2)(T2, (T1[:, :2], c)), T1[:, :2]),
    "lstm_step c": (lambda c: nn.LSTMCell(3, 2)(T1, (T1[:, :2], c)), T1[:, :2]),
    "gru x": (nn.GRU(3, 2), T2),
    "gru_step h": (lambda h: nn.GRUCell(3, 2)(T1, h), T1[:, :2]),
    "layer_norm x": (nn.LayerNorm(3), T1),
    "layer_norm W": (lambda W: F.layer_norm(T1, W, T1[0]), T1[0]),
    "conv2d x": (nn.Conv2d(2, 3, 2), PICTURE),
    "conv2d W": (lambda W: F.conv2d(PICTURE, W), PICTURE[:, :, :2, :2]),
    "conv_transpose2d x": (
        lambda x: F.conv_transpose2d(x, PICTURE[:, :, :2, :2].repeat(2, 0)),
        PICTURE,
    ),
    "max_pool2d x": (nn.MaxPool2d(2), PICTURE),
    "avg_pool2d x": (nn.AvgPool2d(2), PICTURE),
    "Dropout x": (nn.Dropout(0.5), T1),
    "attention q": (lambda q: F.scaled_dot_product_attention(q, T2, T2), T2),
    "attention v": (lambda v: F.scaled_dot_product_attention(T2, T2, v), T2),
    "MultiHeadAttention query": (nn.MultiHeadAttention(3, 3), T2),
    "LearnedPositions x": (nn.LearnedPositions(5, 3), T2),
    "SinusoidalPositions x": (nn.SinusoidalPositions(4), np.ones((2, 3, 4), "float32")),
    "cross_entropy scores": (lambda s: F.cross_entropy(s, [0, 1]), T1),
    "temporal_softmax_loss scores": (
        lambda s: F.temporal_softmax_loss(s, IDS, IDS == 0),
        T2,
    ),
    "mse_loss predictions": (lambda x: F.mse_loss(x, T1), T1),
    "mse_loss targets": (lambda x: F.mse_loss(T1, x), T1),
    "bce_with_logits logits": (lambda x: F.bce_with_logits(x, T1), T1),
}
INTEGERS = {
    "word_embedding ids": (nn.Embedding(3, 2), IDS),
    "cross_entropy targets": (lambda t: F.cross_entropy(T1, t), IDS[:, 0]),
    "temporal_softmax_loss targets": (
        lambda t: F.temporal_softmax_loss(T2, t, IDS == 0),
        IDS,
    ),
}
BOOLEANS = {
    "temporal_softmax_loss: mask": (
        lambda m: F.temporal_softmax_loss(T2, IDS, m),
        IDS == 0,
    ),
    "attention: mask": (
        lambda m: F.scaled_dot_product_attention(T2, T2, T2, m),
        np.ones((4, 4), bool),
    ),
}


def arrays_of(result):
    """The arrays in what a layer gives, which may be a nest of tuples."""
    if isinstance(result, tuple):
        return [a for part in result for a in arrays_of(part)]
    return [np.asarray(result.numpy() if isinstance(result, mg.Tensor) else result)]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "wrong",
    [
        "words",
        None,
        {"x": 1.0},
        [[1.0, 2.0], [3.0]],
        [["a"]],
        np.ones((2, 3), complex),
        np.array([None]),
        [mg.ones(3), mg.ones(3)],
        [nn.Parameter(np.ones(3))],
        object(),
        nn.Linear(1, 1),
    ],
    ids=lambda w: type(w).__name__,
)
def test_what_is_no_array_of_numbers_is_named(name, wrong):
    if wrong is None and name in ("linear b", "rnn h0", "lstm c0"):
        return  # none is wanted
    with pytest.raises(TypeError) as error:
        CALLS[name][0](wrong)
    says(error, "{}: {} is a ".format(*name.split()), "Give a Tensor, an array")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(), (3,), (7, 7), (1, 2, 3, 4, 5)])
def test_what_has_another_shape_is_named(name, shape):
    call, good = CALLS[name]
    layer, operand = name.split()
    anything = {"gelu", "Dropout", "word_embedding", "attention"}
    if layer in anything or shape[-1:] == good.shape[-1:] or len(shape) == good.ndim:
        return
    if (layer, operand) in {("linear", "x"), ("layer_norm", "x")}:
        return  # any leading axes
    with pytest.raises(ValueError, match=f"{layer}: ") as error:
        call(np.ones(shape, "float32"))
    says(error, "has shape", str(shape))


def settled(call):
    """The same with the random numbers of dropout repeated."""

    def run(x):
        mg.manual_seed(0)
        return arrays_of(call(x))

    return run


@pytest.mark.parametrize("name", CALLS)
def test_lists_and_whole_numbers_are_taken(name):
    call, good = CALLS[name]
    run = settled(call)
    expected = run(good)
    for given in (good.tolist(), good.astype("uint8"), mg.Tensor(good.astype(bool))):
        for ours, theirs in zip(run(given), expected, strict=True):
            assert ours.dtype.kind == "f" or name == "max_pool2d x"
            np.testing.assert_allclose(ours.astype(float), theirs, rtol=1e-6)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize(
    "wrong",
    ["words", None, [[1.0, 2.0], [3.0]], np.ones((2, 4)), [[True]], object()],
    ids=lambda w: type(w).__name__,
)
def test_what_is_no_array_of_integers_is_named(name, wrong):
    with pytest.raises(TypeError) as error:
        INTEGERS[name][0](wrong)
    says(error, "{}: {} has dtype".format(*name.split()), "must be of integers")


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize("wrong", ["words", [[1, 0]], np.ones((2, 4)), [[True], []]])
def test_what_is_no_mask_is_named(name, wrong):
    with pytest.raises((TypeError, ValueError)) as error:
        BOOLEANS[name][0](wrong)
    says(error, name)


@pytest.mark.parametrize("call", [*INTEGERS.values(), *BOOLEANS.values()])
def test_lists_of_ids_and_masks_are_taken(call):
    for ours, theirs in zip(
        arrays_of(call[0](call[1].tolist())), arrays_of(call[0](call[1])), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
@pytest.mark.parametrize("N", [1, 2, 3])
def test_an_lstm_is_told_that_its_state_is_a_pair(kind, N):
    x = np.ones((N, 4, 3) if kind is nn.LSTM else (N, 3), "float32")
    h = mg.zeros((N, 2))
    for state, what in (
        (h, f"Tensor of shape ({N}, 2)"),
        ((h,), "tuple of 1"),
        ([h, h, h], "list of 3"),
        (5, "int"),
    ):
        with pytest.raises(TypeError) as error:
            kind(3, 2)(x, state)
        says(error, f"{kind.__name__}: the state is a {what}", "the pair (h, c)")


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.RNNCell, nn.GRUCell])
def test_others_are_told_that_theirs_is_not(kind):
    x = np.ones((2, 4, 3) if kind in (nn.RNN, nn.GRU) else (2, 3), "float32")
    with pytest.raises(TypeError, match="is a tuple, but must be one array"):
        kind(3, 2)(x, (mg.zeros((2, 2)), mg.zeros((2, 2))))


@pytest.mark.parametrize("kind", [nn.TransformerEncoder, nn.TransformerDecoder])
@pytest.mark.parametrize("layers", [None, 3, [3], [nn.Linear(1, 1), None]])
def test_a_stack_is_made_of_layers(kind, layers):
    with pytest.raises(TypeError) as error:
        kind(layers)
    says(error, "ModuleList", "Give")


def test_torch_tensors_are_told_from_ours():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError) as error:
        nn.SGD([torch.ones(2, requires_grad=True)], lr=0.1)
    says(error, "parameter 0 is a torch.Tensor, not a minigrad Tensor")
    with pytest.raises(TypeError, match="parameter 0 is a torch"):
        nn.clip_grad_norm([torch.ones(2, requires_grad=True)], 1.0)
    with pytest.raises(TypeError, match="params is a Linear"):
        nn.clip_grad_norm(nn.Linear(1, 1), 1.0)


def test_what_cannot_be_trained_is_no_parameter():
    w = mg.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="parameter 1 is the result of multiply"):
        nn.SGD([w, w * 2], lr=0.1)
    with pytest.raises(TypeError, match="parameter 1 has dtype int64"):
        nn.SGD([w, mg.Tensor(np.zeros(2, int))], lr=0.1)


@pytest.mark.parametrize("reduction", [None, "average", ["mean"], 0])
def test_a_reduction_is_one_of_three(reduction):
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none'"):
        nn.mse_loss(T1, T1, reduction)


@pytest.mark.parametrize("activation", [None, "tanh", ["relu"], mg.relu])
def test_an_activation_is_one_by_name(activation):
    with pytest.raises(ValueError, match="FeedForward: activation is"):
        nn.FeedForward(2, 2, activation)
