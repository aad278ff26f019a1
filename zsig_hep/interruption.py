"""Interruption by Ctrl-C, SIGTERM or SIGHUP, which is never lost."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# How long after an interruption that nobody has passed on it is raised again.
_AGAIN_S = 0.25
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """A signal that ends the program arrived.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` in the block for each signal, and again until it has left the block.

    An exception that is raised in a callback of a C library, such as those of numba, is only printed by Python, and
    the program would go on. Signals that are ignored when the block begins, as under nohup, remain ignored, and
    processes that are forked from this one end as by default.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, arrived = os.getpid(), signal.SIGINT
    hook = sys.unraisablehook

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal arrived
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        arrived = signal.Signals(number)
        _raise_later(end_again)
        raise Interrupted(arrived)

    def end_again(_number: int, _frame: FrameType | None) -> None:
        _raise_later(end_again)
        if not _is_on_its_way(sys.exception()):
            raise Interrupted(arrived)

    def report(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            hook(unraisable)

    taken = {each: signal.getsignal(each) for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN}
    sys.unraisablehook = report
    try:
        for each in taken:
            signal.signal(each, end)
        yield
    finally:
        _raise_later(None)
        for each, before in taken.items():
            signal.signal(each, before)
        sys.unraisablehook = hook


def _raise_later(handler: Any) -> None:
    """Call a handler after a while; None for not at all."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0.0 if handler is None else _AGAIN_S)


def _is_on_its_way(handled: BaseException | None) -> bool:
    """Whether blocks are being left because of an interruption, whose cleaning up is not to be disturbed."""
    while handled is not None:
        if isinstance(handled, Interrupted):
            return True
        handled = handled.__context__
    return False
