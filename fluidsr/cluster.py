"""A dask.distributed cluster that is already running: the one way work leaves this machine."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, TypeVar

from fluidsr.errors import FluidsrError, InputError, RunError

Job = TypeVar("Job")
Result = TypeVar("Result")

_ANSWER = 3.0  # s that a scheduler has to answer
_PATIENCE = 10.0  # s without a worker before the user gets a message
_QUEUED = 2  # jobs that each worker has: one that it does, and the next
_MOST_TOLD = 200  # characters of an error

# A process has one solver backend, and dask may run several tasks in one process.
_one_at_a_time = threading.Lock()


def results(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    scheduler: str | None,
    note: Callable[[str], None],
    *,
    name: Callable[[Job], str],
    sent: Callable[[Job], Job] = lambda job: job,
) -> Generator[tuple[Job, Result], None, None]:
    """Each of `jobs`, in their order, with `work(job)`: made here, or on the workers of the `scheduler`, which see the
    same files.

    `work` and what `sent` makes of a job travel there; `name` is what a job is called in an error. Close it (use
    `contextlib.closing`) where what has been asked for is no longer wanted: then no worker is at it any more. Raises
    what `work` raises, and RunError where workers die or the scheduler is gone.
    """
    if scheduler is None:
        for job in jobs:
            yield job, work(job)
        return
    with use(scheduler, note) as cluster:
        rest, waiting = iter(jobs), deque[tuple[Job, Any]]()
        while True:
            for job in islice(rest, max(0, cluster.capacity - len(waiting))):
                waiting.append((job, cluster.submit(work, sent(job))))
            if not waiting:
                return
            job, task = waiting.popleft()
            yield job, cluster.result(task, name(job))


class Cluster:
    """The workers of a scheduler, each of which does one job at a time with all of its threads."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._tasks: set[Any] = set()

    @property
    def capacity(self) -> int:
        """Jobs that are enough to keep all workers busy."""
        return _QUEUED * max(1, len(self._client.nthreads()))

    def submit(self, work: Callable[[Any], Any], job: Any) -> Any:
        """Have a worker do `work(job)`; returns what `result` takes."""
        task = self._client.submit(alone, work, job, pure=False)
        self._tasks.add(task)
        return task

    def result(self, task: Any, name: str) -> Any:
        """What the work has returned. Raises the errors of fluidsr that it has raised, and RunError for all others."""
        try:
            with as_run_errors(name):
                return task.result()
        except FluidsrError:
            raise
        except Exception as error:
            message = (str(error).strip() or "no message").splitlines()[0][:_MOST_TOLD]
            problem = f"{name} failed on a worker ({type(error).__name__}: {message})"
            raise RunError("scheduler", problem, "see the worker's log; `debug` shows more") from error
        finally:
            self._tasks.discard(task)

    def settle(self) -> None:
        """Wait until no worker is at a job any more: none writes files that the next run takes for its own."""
        from distributed import wait

        with suppress(Exception):  # a scheduler that is gone has no workers either
            while self._tasks and self._client.nthreads():
                with suppress(TimeoutError):
                    wait(list(self._tasks), timeout=1)
                    break


@contextmanager
def use(scheduler: str, note: Callable[[str], None]) -> Iterator[Cluster]:
    """The cluster of the scheduler at this address; at the end its workers are idle. Raises and reports as `connect`
    does."""
    with connect(scheduler, note) as client:
        cluster = Cluster(client)
        try:
            yield cluster
        finally:
            cluster.settle()


def alone(work: Callable[[Job], Result], job: Job) -> Result:
    """`work(job)` on a worker: after what else is done in its process, with the threads that it has."""
    from distributed import get_worker

    with _one_at_a_time:
        limit_threads(get_worker().state.nthreads)
        return work(job)


def limit_threads(count: int) -> None:
    """Let torch, Taichi and the numeric libraries of this process use `count` threads; call it before they
    start."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    import torch

    torch.set_num_threads(count)


def connect(address: str, note: Callable[[str], None]) -> Any:
    """A client of the scheduler at `address` (`tcp://host:8786`); a context manager. `note` gets a message where no
    worker is there within ten seconds: what is asked for then waits for one.

    Raises InputError where dask.distributed is not installed and where `address` is none, RunError where nobody answers
    within three seconds.
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
    _check_answer(address)
    client = Client(address)
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        note(f"scheduler {address}: has no workers; waiting for one (start it with 'dask worker {address}')")
    except BaseException:
        client.close()
        raise
    return client


def _check_answer(address: str) -> None:
    """Raise as `connect` does; a Client that gets no answer takes seconds more to give up."""
    from distributed import Security, comm
    from distributed.utils import LoopRunner

    async def ask() -> None:
        answer = await comm.connect(address, _ANSWER, **Security().get_connection_args("client"))
        await answer.close()

    try:
        LoopRunner().run_sync(ask)
    except ValueError as error:
        problem = f"'{address}' is not the address of a scheduler ({error})"
        raise InputError("scheduler", problem, "give one such as tcp://host:8786") from None
    except OSError as error:
        problem = f"no scheduler answered ({error})"
        remedy = "check the address, or start one with 'dask scheduler'"
        raise RunError(f"scheduler {address}", problem, remedy) from None


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
