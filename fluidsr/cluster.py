"""A dask.distributed cluster that is already running: the one way work leaves this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fluidsr.errors import InputError, RunError

_PATIENCE = 10.0  # s without a worker, after which the user is told


def connect(address: str, note: Callable[[str], None]) -> Any:
    """A client of the scheduler at `address` (`tcp://host:8786`); a context manager. `note` is told where no worker
    is there within ten seconds: what is asked for then waits for one.

    Raises InputError where dask.distributed is not installed and RunError where nobody answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "scheduler", "dask.distributed is not installed", "pip install 'fluidsr[distributed]'"
        ) from None
    # Its loggers print tracebacks where a connection is lost; what matters of it comes as an error of ours.
    for name in ("distributed", "distributed.client", "distributed.utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise RunError(
            f"scheduler {address}", f"no scheduler answered ({error})", "start one with 'dask scheduler'"
        ) from None
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        note(f"scheduler {address}: has no workers; waiting for one (start it with 'dask worker {address}')")
    except BaseException:
        client.close()
        raise
    return client


@contextmanager
def as_run_errors(task: str) -> Iterator[None]:
    """Turn what dask raises where workers die over `task`, or where the scheduler is gone, into a RunError."""
    import asyncio
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        problem = f"workers of the cluster keep dying on {task} (killed, or out of memory)"
        raise RunError("scheduler", problem, "give them more memory and rerun the same command") from error
    except (CancelledError, asyncio.CancelledError) as error:
        problem = "the scheduler is gone, or dropped the work"
        raise RunError("scheduler", problem, "restart it and rerun the same command") from error
