"""Does `minigrad doctor` advise what was measured, and only that?"""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from apps import cli, doctor, machine, trials
from apps.trials import Trial
from nn import fast
from tests.minigrad.fake_cupy import NO_GPU, FakeGpus, installed, two_gpus

OPENBLAS = {
    "internal_api": "openblas",
    "version": "0.3.31",
    "architecture": "Zen",
    "num_threads": 8,
    "threading_layer": "pthreads",
}


def trial(*seconds: float) -> Trial:
    """A trial of the ways a (now), b and c."""
    ways = dict(zip("abc", seconds, strict=False))
    return Trial("work", ways, {way: f"Take {way}." for way in ways}, alone="Only a.")


# -- advice ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ((2.0, 1.0), "2.00 times as fast with b. Take b."),
        ((2.0, 1.0, 0.5), "4.00 times as fast with c. Take c."),
        ((1.06, 1.0), "1.06 times as fast with b. Take b."),
        ((1.04, 1.0), "nothing to gain."),
        ((1.0, 2.0), "nothing to gain."),
        ((1.0,), "Only a."),
    ],
)
def test_advice_needs_a_gain_beyond_the_noise(
    seconds: tuple[float, ...], said: str
) -> None:
    assert doctor.advice([trial(*seconds)]) == [f"- work: {said}"]


def test_the_table_has_all_ways_beside_the_present_one() -> None:
    (row,) = doctor.trials_table([trial(0.002, 0.001)]).rows
    assert row == ("work", "a (now)\nb", "2.00 ms\n1.00 ms", "1.00\n2.00")


def test_a_busy_machine_is_told() -> None:
    assert doctor.warning(0.9, cores=2) == []
    (line,) = doctor.warning(1.5, cores=2)
    assert "busy (load 1.5, cores: 2)" in line


def test_another_core_type_is_to_be_set() -> None:
    kernels = {"": ("Nehalem", 3.0), "Haswell": ("Haswell", 1.0)}
    (line,) = doctor.advice([trials.kernels_trial(kernels)])
    assert line.endswith(
        "3.00 times as fast with Haswell. Set OPENBLAS_CORETYPE=Haswell."
    )


def test_a_pinned_core_type_is_to_be_unset() -> None:
    """Setting what OpenBLAS chooses by itself brings no more, but noise."""
    kernels = {"Haswell": ("Haswell", 2.0), "": ("Zen", 1.0), "ZEN": ("Zen", 0.9)}
    found = trials.kernels_trial(kernels)
    assert found.seconds == {"Haswell": 2.0, "Zen": 1.0}
    assert doctor.advice([found])[0].endswith("Unset OPENBLAS_CORETYPE.")


def test_kernels_that_openblas_lacks_are_not_compared() -> None:
    found = trials.kernels_trial({"": ("Haswell", 1.0), "SkylakeX": ("Haswell", 0.9)})
    assert doctor.advice([found])[0].endswith(": OpenBLAS has no others.")


@pytest.mark.parametrize(
    ("library", "variable"),
    [
        (OPENBLAS, "OPENBLAS_NUM_THREADS"),
        ({**OPENBLAS, "threading_layer": "openmp"}, "OMP_NUM_THREADS"),
        ({"internal_api": "mkl", "threading_layer": "intel"}, "MKL_NUM_THREADS"),
    ],
)
def test_threads_are_set_by_the_variable_of_the_library(
    library: Mapping[str, Any], variable: str
) -> None:
    assert trials.threads_variable(library) == variable


# -- trials, with made-up figures --------------------------------------------------


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Eight BLAS threads on two cores; each work runs once, its figure is made up."""
    answers = {"memory given back": 3.0, "memory kept": 2.0, "product": ["Zen", 1.0]}

    def in_turns(ways: Mapping[Any, Callable[[], object]]) -> dict[Any, float]:
        for work in ways.values():
            work()
        return {way: float(number) for number, way in enumerate(ways, start=1)}

    monkeypatch.setattr(trials, "in_turns", in_turns)
    monkeypatch.setattr(trials, "ask_child", lambda task, **_: answers[task])
    monkeypatch.setattr(machine, "blas", lambda: OPENBLAS)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(fast, "make_adam", lambda: lambda *_, **__: None)
    return answers


def test_all_is_tried(measured: dict[str, Any]) -> None:
    adam, memory, small, large, kernels = trials.run_all()
    assert list(adam.seconds) == ["NumPy", "Numba's loop"]
    assert memory.seconds == {"memory given back": 3.0, "memory kept": 2.0}
    assert "mg.keep_memory()" in memory.changes[memory.best]
    for threads in (small, large):
        assert list(threads.seconds) == ["8 threads", "2 threads", "1 thread"]
        assert "OPENBLAS_NUM_THREADS=2" in threads.changes["2 threads"]
    assert kernels.seconds == {"Zen": 1.0}


def test_without_numba_it_is_named(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "make_adam", lambda: None)
    (line,) = doctor.advice([trials.adam_trial()])
    assert "Numba is not installed: pip install -e '.[fast]'" in line


def test_without_glibc_memory_cannot_be_kept(measured: dict[str, Any]) -> None:
    measured["memory kept"] = trials.time_step_kept()  # the tests let none be kept
    (line,) = doctor.advice([trials.memory_trial()])
    assert line.endswith("mg.keep_memory() needs Linux with glibc.")


def test_a_blas_that_tells_nothing_is_left_alone(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "blas", lambda: {"internal_api": "accelerate"})
    assert len(trials.run_all()) == 2


@pytest.mark.parametrize("pinned", ["", "Haswell"])
def test_core_types_are_tried_beside_the_present_one(
    pinned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_child(task: str, **environment: str) -> tuple[str, float]:
        kernels = environment.get("OPENBLAS_CORETYPE", pinned)
        if kernels == "SkylakeX":
            raise subprocess.CalledProcessError(-4, task)  # an illegal instruction
        return kernels or "Zen", 1.0

    monkeypatch.setenv("OPENBLAS_CORETYPE", pinned)
    monkeypatch.setattr(trials, "ask_child", ask_child)
    monkeypatch.setattr(trials.platform, "machine", lambda: "x86_64")
    found = trials.by_core_type()
    assert next(iter(found)) == pinned
    assert found == {"": ("Zen", 1.0), "Haswell": ("Haswell", 1.0)}


# -- timing ------------------------------------------------------------------------


def test_ways_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(trials, "SLICE", 0)
    found = trials.in_turns({way: lambda way=way: calls.append(way) for way in "ab"})
    assert set(found) == {"a", "b"}
    assert calls == ["a", "a", "b", "b"] * trials.ROUNDS  # once to warm up, once timed


def test_a_step_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "LONG", 0)
    assert trials.time_step() > 0


def test_a_product_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "LONG", 0)
    monkeypatch.setattr(machine, "blas", lambda: OPENBLAS)
    kernels, seconds = trials.time_product()
    assert kernels == "Zen"
    assert seconds > 0


def test_a_child_answers_or_raises() -> None:
    assert trials.ask_child("memory given back") > 0
    with pytest.raises(subprocess.SubprocessError):
        trials.ask_child("no such task")


# -- facts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), (None, 4)],
)
def test_cores_heed_a_containers_quota(
    quota: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota + "\n")
    monkeypatch.setattr(machine, "QUOTA", file)
    monkeypatch.setattr(fast, "usable_cores", lambda: 4)
    assert machine.cores() == cores


def test_the_processor_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "CPUINFO", file)
    assert machine.processor()
    file.write_text("processor\t: 0\nmodel name\t: A fast one\n")
    assert machine.processor() == "A fast one"


def test_numpy_tells_its_simd_and_its_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(isinstance(name, str) for name in machine.simd())
    monkeypatch.setattr(machine, "threadpool_info", lambda: [{"user_api": "openmp"}])
    assert list(machine.blas()) == ["internal_api"]
    monkeypatch.setattr(
        machine, "threadpool_info", lambda: [{"user_api": "blas", **OPENBLAS}]
    )
    assert machine.blas()["architecture"] == "Zen"


def test_blas_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert doctor.blas_facts(OPENBLAS) == {
        "BLAS": "OpenBLAS 0.3.31",
        "BLAS kernels": "Zen (its own choice)",
        "BLAS threads": "8",
    }
    monkeypatch.setenv("OPENBLAS_CORETYPE", "ZEN")
    assert doctor.blas_facts(OPENBLAS)["BLAS kernels"] == "Zen (OPENBLAS_CORETYPE=ZEN)"
    assert doctor.blas_facts({"internal_api": "accelerate"}) == {
        "BLAS": "accelerate",
        "BLAS kernels": "unknown",
        "BLAS threads": "unknown",
    }


def test_the_gpu_is_named_or_what_helps() -> None:
    with installed(two_gpus()):
        told = doctor.gpu()
    assert told.startswith("cuda:1 (GPU number 1, the most free memory of 2 GPUs")
    assert told.endswith("), CuPy 14.2.0")
    with installed(FakeGpus(error=NO_GPU)):
        told = doctor.gpu()
    assert told.startswith("none: the NVIDIA driver shows no GPU. Check nvidia-smi")


def test_numba_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    assert doctor.numba() == "not installed"


# -- the command -------------------------------------------------------------------


def test_the_command_prints_facts_trials_and_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trials, "run_all", lambda: [trial(2.0, 1.0), trial(1.0, 2.0)])
    busy = (64.0 * machine.cores(), 0.0, 0.0)
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: busy, raising=False)
    result = CliRunner().invoke(cli.minigrad, ["doctor"], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    for fact in doctor.facts():
        assert f"│ {fact} " in result.output
    assert "│ a (now) │ 2000.00 ms │ 1.00  │" in result.output
    *_, gain, nothing, warned = result.output.splitlines()
    assert gain == "- work: 2.00 times as fast with b. Take b."
    assert nothing == "- work: nothing to gain."
    assert warned.startswith("The machine is busy")
