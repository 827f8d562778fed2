"""Does the harness of the benchmarks count honestly? Nothing here measures speed."""

import json
import mmap
import os
from functools import partial

import pytest

from benchmarks import __main__ as command
from benchmarks import child, harness, machine, peers, report, targets, works
from benchmarks.harness import ChildError, Results, Row

WORK = works.Work("mlp", "MLP", "mlp", partial(works.chain, 1), partial(works.chain, 1))


def row(peer, label, seconds, peak_bytes=(10,), work="mlp"):
    return Row(work, peer, label, list(seconds), list(peak_bytes) * len(seconds))


def results(*rows):
    return Results(machine={}, peers={}, missing={}, rows=list(rows))


def fake_children(answers):
    """Return an `ask` that looks up (peer,) or (peer, label); errors are raised."""

    def ask(*arguments):
        answer = answers[arguments[:2]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def offer(label):
    return {"version": "1", "kernels": "K", "labels": {"mlp": [label]}}


def answer(seconds=1.0, loss=2.0):
    return {"seconds": seconds, "peak_bytes": 100, "checked": [[loss]]}


def run(answers, rounds=2):
    names = [key[0] for key in answers if len(key) == 1]
    ask = fake_children(answers)
    return harness.run([WORK], names, rounds, 0.1, lambda _: None, ask)


class Number:
    def item(self):
        return 2.5


@pytest.fixture
def toy_peer(monkeypatch):
    """Offer a framework whose only step gives a number."""

    class Toy:
        VERSION = "0.1"
        WORKS = {"operation": {"toy": lambda problem: Number}}
        kernels = staticmethod(lambda: "toy kernels")
        synchronize = staticmethod(lambda: waits.append("waited"))

    waits = []
    monkeypatch.setattr(peers, "load", lambda name: Toy)
    return waits


def test_child_says_what_a_peer_offers(toy_peer):
    labels = {"operation": ["toy"]}
    expected = {"version": "0.1", "kernels": "toy kernels", "labels": labels}
    assert child.offer("toy") == expected


def test_child_answers_with_time_memory_and_the_first_steps(toy_peer):
    found = child.measure("toy", "toy", "operation", 0.0)
    assert found["seconds"] > 0
    # Before the first sample and within each: work may be put off.
    assert len(toy_peer) == 1 + child.FEWEST_SAMPLES
    assert found["samples"] == child.FEWEST_SAMPLES
    assert found["peak_bytes"] > 0
    assert found["checked"] == [[2.5]] * child.CHECKED_STEPS


def test_child_prints_json_in_its_last_line(toy_peer, capsys):
    child.main(["toy"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["version"] == "0.1"


def test_an_unknown_peer_is_an_error_of_the_child():
    with pytest.raises(ChildError, match="no-such-framework"):
        harness.ask_child("no-such-framework")


def test_children_choose_their_own_kernels_on_two_threads(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    environment = machine.child_environment()
    assert "OPENBLAS_CORETYPE" not in environment
    assert {environment[name] for name in machine.POOLS} == {"2"}


def test_peak_memory_sees_what_was_freed_again():
    before = machine.reset_peak_memory()
    # Fresh pages: bytes might come to stand where an earlier test's arrays did.
    with mmap.mmap(-1, 50_000_000) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    assert machine.peak_memory() - before > 40_000_000
    machine.reset_peak_memory()
    assert machine.peak_memory() - before < 40_000_000


def test_numpy_kernels_are_named_when_openblas_is_loaded():
    loaded = "openblas" in (machine.PROCESS / "maps").read_text()
    assert machine.openblas_kernels().startswith("OpenBLAS ") is loaded


def test_rounds_alternate_their_order():
    asked = []

    def ask(peer, *_):
        asked.append(peer)
        return answer()

    rows = [row("minigrad", "a", ()), row("pytorch", "b", ())]
    for number in range(2):
        harness.take_turns(rows, number, 0.1, ask)
    assert asked == ["minigrad", "pytorch", "pytorch", "minigrad"]


def test_a_missing_peer_is_named_with_its_reason():
    found = run({("pytorch",): ChildError("No module named 'torch'")})
    assert found.missing == {"pytorch": "No module named 'torch'"}
    assert "No module named 'torch'" in report.markdown(found)


def test_another_computation_has_no_figures():
    found = run(
        {
            ("pytorch",): offer("PyTorch"),
            ("pytorch", "PyTorch"): answer(loss=2.0),
            ("minigrad",): offer("minigrad"),
            ("minigrad", "minigrad"): answer(loss=2.001),
        }
    )
    assert found.find("mlp", "PyTorch") is not None
    assert found.find("mlp", "minigrad") is None
    assert "computes something else" in report.markdown(found)


def test_a_failing_child_leaves_its_row_out_and_the_others_in():
    found = run(
        {
            ("pytorch",): offer("PyTorch"),
            ("pytorch", "PyTorch"): ChildError("MemoryError"),
            ("minigrad",): offer("minigrad"),
            ("minigrad", "minigrad"): answer(),
        }
    )
    assert found.find("mlp", "PyTorch") is None
    assert found.find("mlp", "minigrad").seconds == [1.0, 1.0]
    assert "MemoryError" in report.markdown(found)


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ([[1.0], [2.0]], [[1.00005], [2.0]], True),
        ([[1.0], [2.0]], [[1.0], [2.001]], False),
        ([[1.0]], [[float("nan")]], False),
        ([[1.0, 2.0]], [[1.0]], False),
    ],
)
def test_agreement_of_the_first_steps(expected, found, same):
    assert harness.agree(expected, found) is same


def test_ratios_compare_each_round_with_its_neighbour():
    slow_second_round = row("pytorch", "PyTorch", [2.0, 20.0])
    ours = row("minigrad", "minigrad", [1.0, 10.0])
    assert harness.ratios(ours, slow_second_round) == [0.5, 0.5]
    assert harness.ratios(ours, slow_second_round, "memory") == [1.0, 1.0]


def test_the_best_of_pytorchs_rows_is_the_reference():
    fast = row("pytorch", "fast", [1.0], [30])
    small = row("pytorch", "small", [2.0], [20])
    found = results(fast, small, row("jax", "JAX jit", [0.1], [5]))
    assert found.best_reference("mlp") is fast
    assert found.best_reference("mlp", "memory") is small


@pytest.mark.parametrize(("seconds", "status"), [(0.8, "met"), (0.81, "missed")])
def test_a_target_is_met_up_to_its_limit(seconds, status):
    ours = row("minigrad", "minigrad", [seconds])
    target = targets.AgainstPyTorch("MLP", "mlp", 0.8)
    verdict = target.judge(results(ours, row("pytorch", "PyTorch", [1.0])))
    assert (verdict.status, verdict.median) == (status, seconds)


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.title)
def test_without_its_peer_no_target_is_met(target):
    alone = [
        row("minigrad", "minigrad", [1e-9], work=work.name) for work in works.WORKS
    ]
    alone = [r for r in alone if not r.work.startswith("layer")]
    strangers = [row("jax", "JAX jit", [1.0], work=work.name) for work in works.WORKS]
    verdict = target.judge(results(*alone, *strangers))
    assert verdict.status == targets.NOT_SHOWN
    assert verdict.reason.startswith("no figure for")


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.title)
def test_without_us_no_target_is_met(target):
    theirs = [
        row("pytorch", label, [1.0], work=work.name)
        for work in works.WORKS
        for label in ("PyTorch", "PyTorch nn.LSTM", targets.EAGER)
    ]
    assert target.judge(results(*theirs)).status == targets.NOT_SHOWN


@pytest.mark.parametrize(("long", "status"), [(1.4, "met"), (64.0, "missed")])
def test_linear_compares_a_time_step_of_the_longest_with_the_shortest(long, status):
    rows = [
        row("minigrad", "minigrad", [seconds], work=work)
        for work, seconds in (("layer-16", 1.0), ("layer-1024", long))
    ]
    assert targets.TARGETS[-1].judge(results(*rows)).status == status


def test_the_report_shows_median_spread_ratio_and_memory():
    ours = row("minigrad", "minigrad", [0.001, 0.002, 0.003], [5e6])
    theirs = row("pytorch", "PyTorch", [0.004, 0.004, 0.004], [9e6])
    text = report.markdown(results(theirs, ours))
    line = next(line for line in text.splitlines() if "2.00 ms" in line)
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[2:-1] == ["minigrad", "2.00 ms", "1.00-3.00", "0.50", "5.0"]


@pytest.mark.parametrize("name", ["report.md", "report.json"])
def test_the_report_is_written_whole(tmp_path, name):
    found = results(row("minigrad", "minigrad", [1.0]))
    report.write(found, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    text = (tmp_path / name).read_text(encoding="utf-8")
    if name.endswith("json"):
        assert json.loads(text)["rows"][0]["seconds"] == [1.0]
        assert json.loads(text)["targets"]["MLP"]["status"] == "not shown"
    else:
        assert "not shown" in text


def test_the_command_fails_when_a_framework_failed(monkeypatch, capsys):
    broken = row("jax", "JAX jit", ())
    broken.reject("failed: no luck")
    monkeypatch.setattr(harness, "run", lambda *_: results(broken))
    assert command.main(["--quick", "--works", "mlp"]) == 1
    assert "no luck" in capsys.readouterr().out


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_there_is_at_least_one_round(rounds, capsys):
    with pytest.raises(SystemExit):
        command.main(["--repeats", rounds])
    assert "give 1 up" in capsys.readouterr().err


def test_every_problem_starts_from_the_same_values_each_time():
    for work in works.WORKS[:-1]:
        first, again = work.problem(), work.problem()
        for name, array in first.parameters.items():
            assert (array == again.parameters[name]).all()
            assert array.dtype == "float32"


def test_the_chain_is_short_and_small_where_it_only_loads():
    assert {work.tiny().length for work in works.WORKS} == {1}
    # SqueezeNet's sizes are its own, so its small problem has small pictures.
    of_any_size = [w for w in works.WORKS if not w.name.startswith("squeezenet")]
    sizes = [a.size for work in of_any_size for a in work.tiny().parameters.values()]
    assert max(sizes) <= 64


def test_on_a_gpu_the_others_stay_out(monkeypatch):
    asked = {}
    monkeypatch.setenv(peers.VARIABLE, "cpu")

    def run(found, names, *_):
        asked["peers"] = names
        return harness.Results({}, {}, {})

    monkeypatch.setattr(harness, "run", run)
    command.main(["--device", "cuda", "--works", "mlp"])
    assert asked["peers"] == list(peers.ON_GPUS)
    assert os.environ[peers.VARIABLE] == "cuda"
