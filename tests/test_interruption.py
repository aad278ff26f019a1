"""An interruption is never lost, whoever swallows it, and does not disturb the cleaning up that it causes."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from zsig_hep.interruption import Interrupted, interruptible

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def no_signal_is_ignored():
    """Under nohup SIGHUP is ignored, and `interruptible` leaves it so."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt_in_a_block(number: int, *, before=lambda: None, after=lambda: None) -> None:
    with interruptible():
        before()
        try:
            os.kill(os.getpid(), number)
        finally:
            after()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_exception_with_its_number(number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as raised:
        interrupt_in_a_block(number)
    assert raised.value.number == number
    assert isinstance(raised.value, KeyboardInterrupt)
    assert signal.getsignal(number) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_is_swallowed_comes_again(number, capfd):
    @ctypes.CFUNCTYPE(None)
    def callback():
        os.kill(os.getpid(), number)
        time.sleep(1)

    def swallow():
        callback()
        while True:
            time.sleep(0.01)

    with pytest.raises(Interrupted) as raised, interruptible():
        swallow()
    assert raised.value.number == number
    assert capfd.readouterr().err == ""


def test_others_that_are_swallowed_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    @ctypes.CFUNCTYPE(None)
    def callback():
        raise ZeroDivisionError

    with interruptible():
        callback()
    assert [each.exc_type for each in told] == [ZeroDivisionError]


def test_cleaning_up_is_not_disturbed():
    done = []

    def clean():
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            time.sleep(0.01)
        done.append("clean")

    with pytest.raises(Interrupted):
        interrupt_in_a_block(signal.SIGTERM, after=clean)
    assert done == ["clean"]


def test_what_is_ignored_remains_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupt_in_a_block(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_have_no_signals():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def block():
        with interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [before]


FORK = """
import os, signal, time
from zsig_hep.interruption import interruptible
with interruptible():
    child = os.fork()
    if child == 0:
        time.sleep(30)
    else:
        time.sleep(0.2)
        os.kill(child, signal.SIGTERM)
        print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_ends_as_by_default():
    result = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=20)
    assert (result.stdout.split(), result.stderr) == ([str(int(signal.SIGTERM))], "")
