"""Worker processes that end with the process that started them."""

import os
import signal
import threading
import time
from types import TracebackType

import loky

_SECONDS_BETWEEN_LOOKS = 0.25


class WorkerPool(loky.ProcessPoolExecutor):  # type: ignore[misc]
    """Processes of loky, the pool of coffea's `FuturesExecutor`, that do not outlive their parent.

    Processes of loky wait for ever when their parent is killed, and each prints a traceback on Ctrl-C.

    Args:
        max_workers: number of processes.
    """

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers, initializer=_serve, initargs=(os.getpid(),))

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End the processes; after an error, such as Ctrl-C, without waiting for their chunks."""
        self.shutdown(wait=True, kill_workers=kind is not None)


def _serve(parent: int) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when another one has become its parent, which happens when its own ends."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
