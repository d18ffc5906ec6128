"""Jobs that end in chunks: found again, spread over a cluster, tried again, and never waited for in silence."""

import contextlib
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from cohort.store.chunks import Store
from cohort.store.files import NoRoom, StoreError, room

ATTEMPTS = 3
GONE = "the scheduler is gone, or does not answer"
WAITING = 32  # jobs that wait in the scheduler beside those that its workers run


class Stalled(StoreError):
    """Nothing was finished for a long time."""


@dataclass(frozen=True)
class Job:
    """`key`: a hash of all that determines the table that `work(*args)` returns. `work` is a function of the installed
    package, so that it travels by name and what it compiles is kept from one job to the next."""

    key: str
    work: Callable[..., pl.DataFrame]
    args: tuple[Any, ...] = ()


def _do(store: Store, job: Job) -> str:
    """What a worker does: the table goes to the store, not through the scheduler."""
    start = time.perf_counter()
    with room(store.place):
        table = job.work(*job.args)
        store.commit(job.key, table, time.perf_counter() - start)
    return job.key


def run(
    store: Store,
    jobs: Iterable[Job],
    *,
    client: Any = None,
    attempts: int = ATTEMPTS,
    said: Callable[[str], None] = lambda text: None,
) -> Iterator[str]:
    """Make what is not there yet; yields the keys in the order of the jobs, each once its chunk is committed.

    Jobs are taken as they are needed, so that there may be any number of them. Without `client` they run here, one
    after another. A job that fails is tried `attempts` times in all, one that ends its workers as often as Dask tries
    it; then its error is kept in quarantine/, the others go on, and the run fails at its end. A refusal of the
    package's own is final at once, and so is a full disk. A chunk that is damaged is set aside and made again, and
    `said` is told. Errors: StoreError; Stalled if nothing was finished for `store.patience` seconds, after workers that
    hold jobs were restarted once.
    """
    todo = iter(jobs)
    if client is None:
        yield from _here(store, todo, attempts, said)
    else:
        yield from _Spread(store, todo, client, attempts, said).keys()


def _there(store: Store, key: str, said: Callable[[str], None]) -> bool:
    if store.committed(key):
        return True
    if store.set_aside(key):
        said(f"chunk {key} was damaged; it is set aside in {store.place}/quarantine and made again")
    return False


def _final(error: BaseException) -> bool:
    """Whether trying again cannot help: our own refusals say what to change."""
    own = type(error).__module__.startswith("cohort.")
    return isinstance(error, NoRoom) or (own and not isinstance(error, StoreError))


def _failed(store: Store, failures: dict[str, BaseException]) -> None:
    if failures:
        key, error = next(iter(failures.items()))
        raise StoreError(
            f"{len(failures)} chunks failed each time; the first, {key}: {type(error).__name__}: {error}. "
            f"Their errors are in {store.place}/quarantine; what is finished is kept: run again after mending"
        ) from error


def _note(store: Store, key: str, error: BaseException) -> None:
    store.note_failure(key, "".join(traceback.format_exception(error)))


def _here(store: Store, todo: Iterator[Job], attempts: int, said: Callable[[str], None]) -> Iterator[str]:
    failures: dict[str, BaseException] = {}
    for job in todo:
        if not _there(store, job.key, said):
            for attempt in range(1, attempts + 1):
                try:
                    _do(store, job)
                    break
                except Exception as e:
                    if _final(e):
                        raise
                    if attempt == attempts:
                        failures[job.key] = e
                        _note(store, job.key, e)
        if not failures:
            yield job.key
    _failed(store, failures)


@dataclass
class _Spread:
    """Jobs over a Dask cluster; at most WAITING more than its threads are in flight."""

    store: Store
    todo: Iterator[Job]
    client: Any
    attempts: int
    said: Callable[[str], None]
    order: deque[str] = field(default_factory=deque)  # keys taken and not yielded yet
    done: set[str] = field(default_factory=set)
    in_flight: dict[Any, tuple[Job, int]] = field(default_factory=dict)  # future: job, attempt
    failures: dict[str, BaseException] = field(default_factory=dict)
    restarted: bool = False

    def keys(self) -> Iterator[str]:
        from distributed.comm import CommClosedError

        lost = (CancelledError, CommClosedError, TimeoutError)  # what Dask says of a scheduler that does not answer
        try:
            more = True
            while more or self.in_flight:
                more = more and self._fill()
                while self.order and self.order[0] in self.done and not self.failures:
                    self.done.discard(self.order[0])
                    yield self.order.popleft()
                if self.in_flight:
                    self._collect()
            while self.order and not self.failures:
                yield self.order.popleft()
        except lost as e:
            raise StoreError(f"{GONE}; what is finished is kept in {self.store.place}: run again") from e
        finally:
            if self.in_flight:
                with contextlib.suppress(Exception):  # the scheduler may be what failed
                    self.client.cancel(list(self.in_flight), force=True)
        _failed(self.store, self.failures)

    def _fill(self) -> bool:
        """Take jobs until enough are in flight; False when there are no more."""
        most = WAITING + sum(self.client.nthreads().values())
        # Chunks that are done wait for those before them: of them too only so many.
        while len(self.in_flight) < most and len(self.order) < 4 * most:
            if (job := next(self.todo, None)) is None:
                return False
            self.order.append(job.key)
            if _there(self.store, job.key, self.said):
                self.done.add(job.key)
            else:
                self._submit(job, 1)
        return True

    def _submit(self, job: Job, attempt: int) -> None:
        # Dask must not take an earlier run's error of the same job for this one's.
        future = self.client.submit(_do, self.store, job, key=f"{job.key}-{uuid.uuid4().hex}", pure=False)
        self.in_flight[future] = (job, attempt)

    def _collect(self) -> None:
        """Wait for the next that ends."""
        from distributed import KilledWorker, wait

        try:
            with self.client.as_current():
                ended: Any = wait(list(self.in_flight), timeout=self.store.patience, return_when="FIRST_COMPLETED")
        except TimeoutError:
            self._stalled()
            return
        for future in ended.done:
            job, attempt = self.in_flight.pop(future)
            if future.status == "finished":
                self.done.add(job.key)
                future.release()
                continue
            if future.status in ("cancelled", "lost"):
                raise CancelledError
            error = future.exception()
            if _final(error):
                raise error
            # A job that ended several workers, each by want of memory, say, would end more of them.
            if attempt < self.attempts and not isinstance(error, KilledWorker):
                self.said(f"chunk {job.key}: {type(error).__name__}: {error}; it is tried again")
                self._submit(job, attempt + 1)
            else:
                self.failures[job.key] = error
                _note(self.store, job.key, error)

    def _stalled(self) -> None:
        """Restart the workers that hold jobs, once; then give up loudly."""
        info = self.client.scheduler_info(n_workers=-1)["workers"]
        holding = [worker for worker, tasks in self.client.processing().items() if tasks]
        paused = [worker for worker, about in info.items() if about.get("status") == "paused"]
        told = (
            f"no chunk was finished for {self.store.patience:.0f} s: {len(info)} workers, {len(holding)} of them hold "
            f"jobs, {len(paused)} paused for want of memory"
        )
        nannies = [worker for worker in holding if info[worker].get("nanny")]
        if self.restarted or not nannies:
            raise Stalled(f"{told}. What is finished is kept in {self.store.place}: look at the workers, run again")
        self.said(f"{told}; those are restarted")
        self.restarted = True
        self.client.restart_workers(nannies, timeout=60, raise_for_error=False)
        time.sleep(1)
