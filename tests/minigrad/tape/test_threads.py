"""Does the tape stand threads, forks, signals and interrupts at any moment?

Nothing here waits for luck: what another thread or a handler might do between two steps
is done there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import minigrad as mg
from minigrad.tape import Entry, Leaf, entry, recording, writes
from minigrad.tape import writes as writes_of_the_tape
from minigrad.tape.recording import Door, Leave, Recording, Scope, _leave
from tests.minigrad.helpers import assert_equal, leaf


def test_a_gradient_that_comes_in_during_a_sum_is_not_lost(monkeypatch):
    x = leaf([1.0, 2.0])
    (x * 1).sum().backward()
    replace = Leaf.replace_grad

    def interrupted(self, known, total):
        monkeypatch.setattr(Leaf, "replace_grad", replace)
        (x * 10).sum().backward()
        return replace(self, known, total)

    monkeypatch.setattr(Leaf, "replace_grad", interrupted)
    (x * 100).sum().backward()
    assert_equal(x.grad, [111, 111])


def test_writes_of_two_threads_leave_the_newest_number(monkeypatch):
    """Otherwise an entry between the two passes for newer than the last write."""
    module = sys.modules[Entry.__module__.replace("entry", "writes")]
    a, b = mg.Tensor(np.ones(2)), mg.Tensor(np.ones(2))
    take = module.next_order

    def interrupted():
        monkeypatch.setattr(module, "next_order", take)
        number = take()
        b[0] = 5.0
        return number

    monkeypatch.setattr(module, "next_order", interrupted)
    a[0] = 5.0
    assert writes_of_the_tape.last == max(s.order for s in writes.stamps.values())


FORK = """
    import os, signal, threading
    import minigrad as mg
    from minigrad.tape import entry

    ready, done = threading.Event(), threading.Event()

    def hold():
        with entry.steps.lock:
            ready.set()
            done.wait()

    threading.Thread(target=hold, daemon=True).start()
    ready.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        x = mg.Tensor([1.0], requires_grad=True)
        (x * x).sum().backward()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    done.set()
    raise SystemExit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_can_walk_though_a_thread_was_walking_when_it_was_forked():
    code = textwrap.dedent(FORK)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60
    )


def test_a_handler_of_a_signal_can_walk_while_a_walk_adds():
    x = leaf([1.0])
    with entry.steps.lock:
        assert entry.steps.lock.acquire(blocking=False)
        entry.steps.lock.release()
        (x * x).sum().backward()
    assert_equal(x.grad, [2])


# -- an interrupt at any moment ----------------------------------------------------


class InterruptAt:
    """A trace function that raises KeyboardInterrupt at the n-th step of some code."""

    def __init__(self, codes, n):
        self.codes = codes
        self.left = n

    def __call__(self, frame, event, arg):
        if frame.f_code not in self.codes:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def in_scope(scope):
    with scope():
        pass


SCOPES = {
    "no_grad": mg.no_grad,
    "record_lines": mg.record_lines,
    "detect_anomaly": mg.detect_anomaly,
    "profile": mg.profile,
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", SCOPES)
def test_an_interrupt_at_any_step_of_a_scope_leaves_recording_as_it_was(name):
    places = [in_scope, Scope.__enter__, _leave, Leave.__get__]
    places += [Recording.set, Door.__del__]
    codes = {place.__code__ for place in places}
    kept = []  # as an interactive session keeps the last traceback
    for n in range(1, 1000):
        interrupt = InterruptAt(codes, n)
        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            in_scope(SCOPES[name])
        except KeyboardInterrupt as error:
            kept.append(error)
        finally:
            sys.settrace(before)
        assert recording.enabled, f"off after an interrupt at step {n}"
        assert recording.observers == ()
        assert recording.plain
        if interrupt.left > 0:
            break
    assert len(kept) > 50


def test_scopes_serve_exit_stacks_and_can_be_left_by_hand():
    with contextlib.ExitStack() as stack:
        stack.enter_context(mg.no_grad())
        stack.enter_context(mg.no_grad())
        assert not recording.enabled
    assert recording.enabled
    scope = mg.no_grad()
    scope.__enter__()
    assert not recording.enabled
    scope.__exit__(None, None, None)
    assert recording.enabled


def test_one_scope_can_be_entered_again_inside_itself():
    scope = mg.no_grad()
    with scope:
        with scope:
            assert not recording.enabled
        assert not recording.enabled
    assert recording.enabled


# -- decorators --------------------------------------------------------------------


def test_no_grad_decorates_with_and_without_a_call():
    x = leaf([1.0])

    @mg.no_grad
    def bare(x):
        return x * 2

    @mg.no_grad()
    def called(x):
        return x * 2

    assert not bare(x).requires_grad
    assert not called(x).requires_grad
    assert (x * 2).requires_grad


async def later():
    pass


async def each_later():
    yield


def each():
    yield


@pytest.mark.parametrize("function", [later, each_later, each])
def test_what_runs_later_is_refused_as_a_decorated_function(function):
    for decorator in (mg.no_grad, mg.no_grad(), mg.detect_anomaly()):
        with pytest.raises(TypeError, match="runs after this decorator has ended"):
            decorator(function)


@pytest.mark.parametrize("thing", [dict, 3, "model"])
def test_what_is_no_function_is_refused(thing):
    with pytest.raises(TypeError, match="is no function"):
        mg.no_grad(thing)
