"""What a compiled step looks up anew, what makes another recording, what is refused."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.compiler import compiled as module
from tests.devices import put
from tests.minigrad.helpers import assert_close

pytestmark = pytest.mark.usefixtures("device")
ROWS = np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32)
LABELS = np.array([0, 1, 1, 0])


def leaf(values, **kwargs):
    return put(mg.Tensor(np.asarray(values, np.float32), requires_grad=True, **kwargs))


def rows():
    return put(mg.Tensor(ROWS))


def numbers(*tensors):
    return [np.array(t.detach().numpy()) for t in tensors]


class Model(nn.Module):
    def __init__(self, seed=0):
        generator = mg.Generator(seed)
        self.first = nn.Linear(3, 4, generator=generator)
        self.drop = nn.Dropout(0.5, generator=generator)
        self.second = nn.Linear(4, 2, generator=generator)

    def forward(self, x):
        return self.second(self.drop(mg.tanh(self.first(x))))


class Training:
    """A model, its optimiser and a step, compiled or not."""

    def __init__(self, compiled, kind=nn.Adam, **settings):
        device = rows().device
        self.model = Model().to(device)
        self.optimizer = kind(self.model.parameters(), lr=0.05, **settings)
        self.labels = put(mg.Tensor(LABELS))
        self.step = mg.compile(self.plain) if compiled else self.plain

    def plain(self, x):
        loss = nn.cross_entropy(self.model(x), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        nn.clip_grad_norm(self.model.parameters(), 0.5)
        self.optimizer.step()
        return loss

    def state(self):
        return numbers(*self.model.parameters())


def pair(**kwargs):
    return Training(True, **kwargs), Training(False, **kwargs)


def assert_same(ours, theirs, change=lambda training: None, steps=3):
    """Both go on alike, after the same change to each."""
    for training in (ours, theirs):
        change(training)
    for _ in range(steps):
        assert_close(ours.step(rows()).detach(), theirs.step(rows()).item(), 1e-6)
    for a, b in zip(ours.state(), theirs.state(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# -- whole training runs -----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (nn.SGD, {}),
        (nn.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
        (nn.Adam, {"weight_decay": 0.1}),
        (nn.AdamW, {}),
    ],
)
def test_a_training_run_is_the_same(kind, settings):
    ours, theirs = pair(kind=kind, **settings)
    assert_same(ours, theirs, steps=10)
    assert len(ours.step.recordings) == 1


def test_gradients_in_hand_serve_as_well():
    w = leaf([1.0, 2.0])
    optimizer = nn.SGD([w], lr=0.5)

    @mg.compile
    def step(x):
        loss = (w * x).sum()
        optimizer.update(mg.grad(loss, [w]))
        return loss

    x = put(mg.Tensor([1.0, 3.0]))
    assert [float(step(x)) for _ in range(3)] == [7.0, 2.0, -3.0]


# -- what stays live ---------------------------------------------------------------


CHANGES = {
    "learning rate": lambda t: setattr(t.optimizer, "lr", 0.5),
    "weight decay": lambda t: setattr(t.optimizer, "weight_decay", 0.5),
    "beta1": lambda t: setattr(t.optimizer, "beta1", 0.1),
    "evaluation mode": lambda t: t.model.eval(),
    "dropout": lambda t: setattr(t.model.drop, "p", 0.1),
    "no dropout": lambda t: setattr(t.model.drop, "p", 0.0),
    "seed": lambda t: t.model.drop.generator.seed(7),
    "other weights": lambda t: t.model.load_state_dict(Model(5).state_dict()),
    "an array assigned": lambda t: setattr(
        t.model.first.W, "data", put(mg.Tensor(np.ones((3, 4), np.float32))).array
    ),
    "written in place": lambda t: t.model.first.b.detach().copy_([1.0] * 4),
    "a frozen weight": lambda t: setattr(t.model.first.W, "requires_grad", False),
    "other labels": lambda t: t.labels.copy_([1, 0, 1, 0]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_outside_is_looked_up_again(change):
    ours, theirs = pair()
    assert_same(ours, theirs)
    before = ours.state()
    assert_same(ours, theirs, CHANGES[change])
    still = Training(False)
    for _ in range(6):
        still.step(rows())
    assert any(
        not np.allclose(a, b) for a, b in zip(ours.state(), still.state(), strict=True)
    ), "the change makes no difference, so this shows nothing"
    assert before


def test_a_saved_run_goes_on():
    ours, theirs = pair()
    assert_same(ours, theirs)
    saved = ours.model.state_dict(), ours.optimizer.state_dict()

    def restore(training):
        training.model.load_state_dict(saved[0])
        training.optimizer.load_state_dict(saved[1])
        training.model.drop.generator.seed(3)

    assert_same(ours, theirs)
    assert_same(ours, theirs, restore)


def test_replaying_draws_what_running_draws():
    generators = [mg.Generator(4), mg.Generator(4)]
    device = rows().device
    steps = [
        lambda x, g=g: (
            mg.dropout(x, 0.5, generator=g) + mg.bernoulli((3,), 0.5, g, device)
        )
        for g in generators
    ]
    compiled = mg.compile(steps[0])
    for _ in range(4):
        assert_close(compiled(rows()), steps[1](rows()).numpy(), 0)
    assert generators[0].get_state() == generators[1].get_state()


# -- recordings --------------------------------------------------------------------


def test_other_shapes_dtypes_and_values_are_recorded_again():
    @mg.compile
    def power(x, exponent, *, scale=None):
        return x**exponent * (1 if scale is None else scale["by"])

    for x, arguments in (
        (ROWS, (2,)),
        (ROWS[:2], (2,)),
        (ROWS.astype(np.float64), (2,)),
        (ROWS, (3,)),
        (ROWS.T, (3,)),
    ):
        for _ in range(2):
            assert_close(power(put(mg.Tensor(x)), *arguments), x ** arguments[0], 1e-6)
    assert len(power.recordings) == 5
    two = put(mg.Tensor(2.0))
    assert_close(power(rows(), 2, scale={"by": two}), ROWS**2 * 2, 1e-6)
    assert len(power.recordings) == 6


def test_an_argument_twice_is_not_two_arguments():
    add = mg.compile(lambda a, b: a + b * 2)
    one, two = rows(), put(mg.Tensor(ROWS + 1))
    assert_close(add(one, one), ROWS * 3, 1e-6)
    assert_close(add(one, two), ROWS * 3 + 2, 1e-6)
    assert_close(add(two, two), ROWS * 3 + 3, 1e-6)


def test_a_tensor_from_outside_may_be_an_argument_too():
    w = rows()
    add = mg.compile(lambda a: a * 10 + w)
    assert_close(add(w), ROWS * 11, 1e-6)
    assert_close(add(put(mg.Tensor(ROWS + 1))), ROWS * 11 + 10, 1e-6)
    assert_close(add(w), ROWS * 11, 1e-6)


def test_results_keep_their_structure():
    step = mg.compile(lambda x: {"a": [x + 1, (x, None, 3)], "b": "text"})
    for _ in range(2):
        found = step(rows())
        assert_close(found["a"][0], ROWS + 1, 1e-6)
        assert_close(found["a"][1][0], ROWS, 0)
        assert found["a"][1][1:] == (None, 3)
        assert found["b"] == "text"


def test_results_of_one_run_stay_when_the_next_has_come():
    step = mg.compile(lambda x: (mg.exp(x), mg.exp(x)))
    step(rows())
    first, twin = step(rows())
    twin += 1
    step(put(mg.Tensor(ROWS * 0)))
    assert_close(first, np.exp(ROWS), 1e-6)


def test_too_many_recordings_are_reported(monkeypatch):
    monkeypatch.setattr(module, "MOST_RECORDINGS", 2)
    step = mg.compile(lambda x, n: x * n)
    step(rows(), 1)
    step(rows(), 2)
    with pytest.warns(UserWarning, match="more than 2 kinds of arguments"):
        step(rows(), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_close(step(rows(), 2), ROWS * 2, 1e-6)


def test_a_method_is_compiled_for_each_object():
    class Scaler:
        def __init__(self, by):
            self.by = by

        @mg.compile
        def scale(self, x):
            return x * self.by

    one, two = Scaler(2), Scaler(3)
    for _ in range(2):
        assert_close(one.scale(rows()), ROWS * 2, 1e-6)
        assert_close(two.scale(rows()), ROWS * 3, 1e-6)


def test_objects_stand_for_themselves():
    class Settings:
        __hash__ = None

        def __init__(self, by):
            self.by = by

    step = mg.compile(lambda x, settings: x * settings.by)
    for by in (2, 3, 2):
        assert_close(step(rows(), Settings(by)), ROWS * by, 1e-6)
    assert len(step.recordings) == 3


# -- composition -------------------------------------------------------------------


def test_a_compiled_function_in_another_is_part_of_it():
    inner = mg.compile(lambda x: mg.exp(x))
    outer = mg.compile(lambda x: inner(x) * 2)
    for _ in range(2):
        assert_close(outer(rows()), np.exp(ROWS) * 2, 1e-6)
    assert not inner.recordings


def test_somebody_who_watches_sees_the_operations():
    step = mg.compile(lambda x: mg.log(x))
    step(put(mg.Tensor(ROWS**2)))
    with np.errstate(all="ignore"):
        assert np.isnan(step(rows()).numpy()).any()
        with mg.detect_anomaly(), pytest.raises(FloatingPointError):
            step(rows())


def test_checkpoint_inside_is_recorded_as_it_runs():
    w = leaf(ROWS)
    f = mg.checkpoint(lambda x: mg.dropout(mg.exp(x), 0.5, generator=generator))

    def step():
        return mg.grad((f(w) * w).sum(), w)

    generator = mg.Generator(1)
    expected = [step().numpy() for _ in range(3)]
    generator = mg.Generator(1)
    compiled = mg.compile(step)
    for right in expected:
        assert_close(compiled(), right, 1e-6)


def test_gradients_do_not_pass_a_compiled_step_unseen():
    w = leaf(ROWS)
    step = mg.compile(lambda: (w * 2).sum())
    step()
    with pytest.raises(RuntimeError, match="result of a compiled step"):
        step().backward()
    with mg.no_grad():
        assert not step().requires_grad


def test_two_threads_in_one_program():
    step = mg.compile(lambda x: mg.exp(x).sum())
    step(rows())
    found: dict[int, list[float]] = {}

    def work(n):
        x = put(mg.Tensor(ROWS * n))
        found[n] = [float(step(x)) for _ in range(50)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, values in found.items():
        np.testing.assert_allclose(values, float(np.exp(ROWS * n).sum()), rtol=1e-5)


# -- what is refused ---------------------------------------------------------------

HIDDEN = np.ones((4, 3), np.float32)


def hooked(x):
    y = x * 1
    y.requires_grad = True
    y.register_hook(lambda g: g)
    return mg.grad(y.sum(), y)


REFUSED = {
    "item": (lambda x: x * x.sum().item(), "read inside of a compiled step"),
    "float": (lambda x: x * float(x.sum()), "read inside of a compiled step"),
    "branch": (lambda x: x if x.sum() > 0 else -x, "read inside of a compiled step"),
    "numpy": (lambda x: x * x.numpy().max(), "read inside of a compiled step"),
    "data": (lambda x: x * x.data, "read inside of a compiled step"),
    "index": (lambda x: ROWS[int(x[0].sum() > 0)], "read inside of a compiled step"),
    "array": (lambda x: x * put(mg.Tensor(HIDDEN)), "was not computed by an operation"),
    "mask": (lambda x: x[x > 0], "boolean mask"),
    "write": (lambda x: (x + 1).copy_(x), "writes in place"),
    "hook": (hooked, "gradient hook"),
    "object": (lambda x: {1, 2}, "returns a set"),
    "result": (lambda x: mg.Tensor(HIDDEN), "no operation of minigrad"),
}


OUTSIDE = mg.Tensor(np.ones(3, np.float32))
SCHEDULED = nn.SGD([mg.Tensor([1.0], requires_grad=True)], lr=0.1)
SCHEDULE = nn.ExponentialDecay(SCHEDULED, 0.5)
GENERATOR = mg.Generator(0)

REFUSED |= {
    "data assigned": (lambda x: setattr(OUTSIDE, "data", x[0]), "assigning .data"),
    "schedule": (lambda x: SCHEDULE.step(), "assigning lr"),
    "optimizer's settings": (
        lambda x: setattr(SCHEDULED, "momentum", 0.5),
        "assigning momentum",
    ),
}
SEEDING = {
    "seed": lambda x: GENERATOR.seed(1),
    "state": lambda x: GENERATOR.set_state(GENERATOR.get_state()),
    "new": lambda x: mg.dropout(x, 0.5, generator=mg.Generator(0)),
    "default": lambda x: mg.manual_seed(0) and x,
}


@pytest.mark.parametrize("what", SEEDING)
def test_generators_are_not_seeded_in_a_step(what):
    step = mg.compile(SEEDING[what])
    with pytest.raises(RuntimeError, match="made or seeded inside of a compiled step"):
        step(rows())
    assert GENERATOR.get_state() == mg.Generator(0).get_state()


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_stay_the_same_is_refused(what):
    function, message = REFUSED[what]
    step = mg.compile(function)
    with pytest.raises(mg.CompileError, match=message):
        step(rows())
    assert not step.recordings


def test_the_message_names_the_users_line():
    step = mg.compile(lambda x: x * float(x.sum()))
    with pytest.raises(mg.CompileError, match=r"test_compile.py:\d+: step = "):
        step(rows())


@pytest.mark.only_cpu("another device refuses it by itself")
def test_an_array_of_the_hosts_that_slips_in_is_refused():
    step = mg.compile(lambda x: x + HIDDEN)
    with pytest.raises(mg.CompileError, match="was not computed"):
        step(rows())


def test_arrays_come_in_as_tensors_so_that_nobody_reads_them_unseen():
    step = mg.compile(lambda ids: mg.arange(0, int(ids.max())))
    with pytest.raises(mg.CompileError, match="read inside"):
        step(LABELS)


def test_a_gradient_from_before_is_refused():
    w = leaf(ROWS)

    def step():
        (w * 2).sum().backward()

    compiled = mg.compile(step)
    compiled()
    assert_close(w.grad, ROWS * 0 + 2, 1e-6)
    with pytest.raises(mg.CompileError, match="zero_grad"):
        compiled()
    w.zero_grad()
    compiled()
    assert_close(w.grad, ROWS * 0 + 2, 1e-6)
    with pytest.raises(mg.CompileError, match="zero_grad"):
        mg.compile(step)()


def test_recording_changes_nothing_by_itself(monkeypatch):
    training = Training(True)
    monkeypatch.setattr(module.Recording, "run", lambda *given: None)
    before = training.state(), training.model.drop.generator.get_state()
    training.step(rows())
    assert all(map(np.array_equal, training.state(), before[0]))
    assert training.model.drop.generator.get_state() == before[1]
    assert all(p.grad is None for p in training.model.parameters())


def test_stopped_and_resumed_or_not_the_bits_are_the_same():
    one, two = Training(True), Training(True)
    for i in range(6):
        if i == 3:
            two.step = mg.compile(two.plain)  # as in another process
        one.step(rows())
        two.step(rows())
    for a, b in zip(one.state(), two.state(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_read_after_a_write_is_what_was_written():
    w = leaf(ROWS)
    optimizer = nn.SGD([w], lr=1.0)

    @mg.compile
    def step(x):
        turned = w.detach().T
        before = (x @ turned).sum()
        optimizer.update([x])
        return before, (x @ turned).sum(), (x @ w.detach().T).sum()

    for _ in range(2):
        w0 = w.numpy().copy()
        found = [float(part) for part in step(rows())]
        product = float((ROWS @ w0.T).sum())
        after = float((ROWS @ (w0 - ROWS).T).sum())
        np.testing.assert_allclose(found, [product, after, after], rtol=1e-5)


def test_an_exception_in_a_run_leaves_weights_and_moments():
    table = nn.Embedding(4, 2)
    table.to(rows().device)
    optimizer = nn.Adam(table.parameters(), lr=0.1)

    @mg.compile
    def step(ids):
        loss = (table(ids) ** 2).sum()
        optimizer.update(mg.grad(loss, optimizer.params))
        return loss

    step(np.array([0, 1]))
    before = numbers(table.W), optimizer.state_dict()
    for wrong in ([4, 0], [-1, 0]):
        with pytest.raises(ValueError, match="ids range from"):
            step(np.array(wrong))
    np.testing.assert_array_equal(numbers(table.W), before[0])
    for key, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(value, before[1][key])


def test_a_program_can_be_read(tmp_path):
    step = mg.compile(lambda x: mg.exp(x @ x.T).sum())
    with pytest.raises(RuntimeError, match="Call it first"):
        step.program()
    step(rows())
    listing = str(step.program())
    assert "exp(v2)" in listing
    assert "us" not in listing.splitlines()[0]
    assert_close(step.measure(rows()), np.exp(ROWS @ ROWS.T).sum(), 1e-5)
    head, *body = str(step.program()).splitlines()
    assert head.split() == ["instruction", "bytes", "FLOPs", "us", "line"]
    product = next(line for line in body if "matmul(" in line)
    assert {"64", "96"} <= {*product.split()}  # bytes, and 2 * 4 * 4 * 3 FLOPs
    assert "test_compile.py" in product
    step.program().save(tmp_path / "step.html")
    page = (tmp_path / "step.html").read_text()
    assert "<td>v3: float32[4, 4] = exp(v2)</td>" in page


def test_the_passes_are_explained():
    step = mg.compile(lambda x: mg.exp(x) + mg.exp(x))
    step(rows())
    lines = [line.split() for line in str(step.explain()).splitlines()]
    assert ["merge_common", "3", "2"] in lines
    assert lines[-1][:3] == ["bytes", "of", "buffers"]


@pytest.mark.only_cpu("on a GPU, ids wrap around")
def test_an_error_in_a_run_names_operation_and_line():
    step = mg.compile(lambda x, ids: x[ids])
    step(rows(), np.array([0, 1]))
    with pytest.raises(
        IndexError, match=r"out of bounds (.|\n)*in gather, test_compile.py"
    ):
        step(rows(), np.array([0, 9]))


def test_two_leaves_with_one_gradient_do_not_share_it():
    a, b = leaf(ROWS), leaf(ROWS)

    @mg.compile
    def step():
        a.zero_grad()
        b.zero_grad()
        (a + b).sum().backward()

    for _ in range(2):
        step()
        a.grad += 1
        assert_close(a.grad, ROWS * 0 + 2, 0)
        assert_close(b.grad, ROWS * 0 + 1, 0)
