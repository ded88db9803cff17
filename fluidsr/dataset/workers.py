"""Where simulations are computed: in this process, in several local processes, or on a dask cluster.

Each function yields an Outcome per job, in any order, and stops all other jobs if one raises. A job that fails for a
reason outside of the simulation (a worker that dies, an error of the system or of a library) is restarted; if it
keeps failing, the run ends with a RunError. A simulation that diverges is an Outcome like any other.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from queue import Empty
from typing import Any

from fluidsr.cluster import alone, as_run_errors, limit_threads
from fluidsr.dataset.simulation_job import Cancelled, Outcome, SimulationJob, simulate
from fluidsr.dataset.writer import remove_partial
from fluidsr.errors import FluidsrError, RunError

# Called with the name of the simulation and the event: those of `simulation_job.simulate`, and "again" for a restart.
Report = Callable[[str, str], None]

RETRIES = 2
_AGAIN = "run it again; `debug` shows more"


def in_this_process(jobs: Sequence[SimulationJob], report: Report) -> Generator[Outcome, None, None]:
    """Run the jobs one after another, with all threads that torch and Taichi use."""
    for job in jobs:
        yield _persistently(job, lambda event, job=job: report(job.name, event))  # type: ignore[misc]


def in_processes(
    jobs: Sequence[SimulationJob], workers: int, report: Report
) -> Generator[Outcome, None, None]:
    """Run the jobs in `workers` processes of one thread each.

    If a process dies (for example out of memory), unfinished jobs are restarted; RunError if processes keep dying
    before one is complete.
    """
    from concurrent.futures.process import BrokenProcessPool

    # Inherited by multiprocessing's resource tracker, which would otherwise warn about resources of a dead worker.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    remaining = {job.name: job for job in jobs}
    deaths = 0
    while remaining:
        try:
            for outcome in _in_pool(list(remaining.values()), workers, report):
                del remaining[outcome.name]
                deaths = 0
                yield outcome
        except BrokenProcessPool as error:
            remove_partial(jobs[0].path)  # left by the dead worker; the others have ended by now, too
            deaths += 1
            if deaths > RETRIES:
                problem = f"worker processes died {deaths} times (killed, or out of memory)"
                raise RunError("workers", problem, "use fewer workers and rerun the same command") from error
            for name in remaining:
                report(name, "again")


def _in_pool(jobs: Sequence[SimulationJob], workers: int, report: Report) -> Iterator[Outcome]:
    """Yields the outcomes of a pool of processes.

    If a process dies, raises BrokenProcessPool after the completed outcomes; by then all processes have ended.
    """
    import multiprocessing
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

    context = multiprocessing.get_context("spawn")  # a forked Taichi or torch may hang
    reports, stop = context.Queue(), context.Event()
    count = min(workers, len(jobs))
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker, initargs=(reports, stop))
    try:
        waiting = {pool.submit(_simulate_in_worker, job) for job in jobs}
        while waiting:
            done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            for name, event in _drain(reports):
                report(name, event)
            for future in sorted(done, key=lambda future: future.exception() is not None):
                yield future.result()
    finally:
        stop.set()  # the others end after their current frame, and remove their partial files
        pool.shutdown(wait=True, cancel_futures=True)
        reports.close()


def on_cluster(jobs: Sequence[SimulationJob], client: Any) -> Generator[Outcome, None, None]:
    """Run the jobs on the workers of a dask.distributed `client`, which must be able to access the dataset.

    Raises RunError if workers die over a job repeatedly, if a job fails on all of them, or if the scheduler is gone.
    """
    from distributed import as_completed

    futures = client.map(partial(alone, _simulate_on_cluster), jobs, pure=False, retries=RETRIES)
    names = {future.key: job.name for future, job in zip(futures, jobs, strict=True)}
    try:
        for future in as_completed(futures):
            try:
                with as_run_errors(names[future.key]):
                    outcome = future.result()
            except FluidsrError:
                raise
            except Exception as error:
                raise _failed(names[future.key], error) from error
            yield outcome
    finally:
        client.cancel(futures)


def _persistently(job: SimulationJob, report: Callable[[str], None]) -> Outcome:
    """`simulate`, with up to `RETRIES` restarts if it fails for an external reason."""
    retries = RETRIES
    while True:
        try:
            return simulate(job, report)
        except (FluidsrError, Cancelled):  # a restart would fail in the same way
            raise
        except Exception as error:
            if retries == 0:
                raise _failed(job.name, error) from error
        retries -= 1
        report("again")


def _failed(name: str, error: Exception) -> RunError:
    message = (str(error).strip() or "no message").splitlines()[0][:200]
    return RunError(name, f"failed {1 + RETRIES} times ({type(error).__name__}: {message})", _AGAIN)


_reports: Any = None  # in a worker process: the queue of its reports, and the event that stops it
_stop: Any = None


def _start_worker(reports: Any, stop: Any) -> None:
    global _reports, _stop
    _reports, _stop = reports, stop
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent stops its workers itself
    threading.Thread(target=_die_with_parent, daemon=True).start()
    limit_threads(1)


def _die_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a killed parent cannot stop its children


def _simulate_in_worker(job: SimulationJob) -> Outcome:
    def report(event: str) -> None:
        if _stop.is_set():
            raise Cancelled
        _reports.put((job.name, event))

    if _stop.is_set():
        raise Cancelled
    return _persistently(job, report)


def _simulate_on_cluster(job: SimulationJob) -> Outcome:
    return simulate(job, lambda event: None)


def _drain(reports: Any) -> Iterator[tuple[str, str]]:
    while True:
        try:
            yield reports.get_nowait()
        except Empty:
            return
