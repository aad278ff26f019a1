"""Calls shared out over processes of one thread each."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch


def limit_threads() -> None:
    """One thread per process: several processes share the machine."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    torch.set_num_threads(1)


def _run(task: tuple[Callable[..., Any], tuple[Any, ...]]) -> Any:
    function, arguments = task
    return function(*arguments)


def mapped(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """Results of calls in any order, started in the order given."""
    tasks = [(function, each) for each in arguments]
    if workers == 1:
        yield from map(_run, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=limit_threads) as pool:
        yield from pool.imap_unordered(_run, tasks)
