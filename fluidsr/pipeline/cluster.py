"""A dask.distributed cluster that is already running: the one way work leaves this machine."""

from __future__ import annotations

import logging
from typing import Any

from fluidsr.errors import InputError, RunError


def connect(address: str) -> Any:
    """A client of the scheduler at `address` (`tcp://host:8786`); a context manager.

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
        return Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise RunError(
            f"scheduler {address}", f"no scheduler answered ({error})", "start one with 'dask scheduler'"
        ) from None
