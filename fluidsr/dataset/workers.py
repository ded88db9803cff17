"""Who computes the simulations: this process, several processes here, or a dask cluster.

Each yields an Outcome per job, in any order, and stops all the others when one raises.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from queue import Empty
from typing import Any

from fluidsr.dataset.record import Job, Outcome, Stopped, simulate
from fluidsr.errors import RunError

Report = Callable[[str, str], None]  # name of the simulation, event

# Of a job that met an error of its machine; one that diverged is an outcome, and is not tried again.
RETRIES = 2

# A process has one solver backend, and dask may run several tasks in one process.
_one_at_a_time = threading.Lock()


def in_this_process(jobs: Sequence[Job], report: Report) -> Generator[Outcome, None, None]:
    """One after another, with all threads that torch and Taichi take."""
    for job in jobs:
        yield simulate(job, lambda event, job=job: report(job.name, event))  # type: ignore[misc]


def in_processes(jobs: Sequence[Job], workers: int, report: Report) -> Generator[Outcome, None, None]:
    """In `workers` processes of one thread each. Raises RunError where one dies (out of memory, say)."""
    import multiprocessing
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool

    if not jobs:
        return
    context = multiprocessing.get_context("spawn")  # a forked Taichi or torch may hang
    news, stop = context.Queue(), context.Event()
    count = min(workers, len(jobs))
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker, initargs=(news, stop))
    try:
        waiting = {pool.submit(_simulate_in_worker, job) for job in jobs}
        while waiting:
            done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            for name, event in _drain(news):
                report(name, event)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        what = "a worker process died (killed, or out of memory)"
        raise RunError("--workers", what, "use fewer workers and run the same command again") from error
    finally:
        stop.set()  # the others end after their present frame, and remove what they had begun
        pool.shutdown(wait=True, cancel_futures=True)
        news.close()


def on_cluster(jobs: Sequence[Job], client: Any) -> Generator[Outcome, None, None]:
    """On the workers of a dask.distributed `client`, which must see the jobs' folder. Raises RunError where
    workers die over a job again and again."""
    from distributed import KilledWorker, as_completed

    futures = client.map(_simulate_on_cluster, jobs, pure=False, retries=RETRIES)
    try:
        for future in as_completed(futures):
            yield future.result()
    except KilledWorker as error:
        what = "workers of the cluster die (killed, or out of memory)"
        raise RunError("--scheduler", what, "give them more memory and run the same command again") from error
    finally:
        client.cancel(futures)


def limit_threads(count: int) -> None:
    """Let torch, Taichi and the numeric libraries of this process use `count` threads; call it before they
    start."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    import torch

    torch.set_num_threads(count)


_news: Any = None  # of a worker process: where it reports, and whether it is to stop
_stop: Any = None


def _start_worker(news: Any, stop: Any) -> None:
    global _news, _stop
    _news, _stop = news, stop
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent tells us to stop
    threading.Thread(target=_die_with_parent, daemon=True).start()
    limit_threads(1)


def _die_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # killed parents cannot tell their children to stop


def _simulate_in_worker(job: Job) -> Outcome:
    def report(event: str) -> None:
        if _stop.is_set():
            raise Stopped
        _news.put((job.name, event))

    if _stop.is_set():
        raise Stopped
    return simulate(job, report)


def _simulate_on_cluster(job: Job) -> Outcome:
    from distributed import get_worker

    with _one_at_a_time:
        limit_threads(get_worker().state.nthreads)
        return simulate(job, lambda event: None)


def _drain(news: Any) -> Iterator[tuple[str, str]]:
    while True:
        try:
            yield news.get_nowait()
        except Empty:
            return
