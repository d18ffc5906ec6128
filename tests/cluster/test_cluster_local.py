"""Workers on this machine: nobody else reaches them, and nothing of them is left."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import dask
import psutil
import pytest

from cohort.cluster import Local, client
from cohort.record import digest

DRIVER = """
import signal, sys, time
from cohort.cluster import Local, client
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background ignores
    with client(Local(processes=True, workers=1)) as c:
        print("up", flush=True)
        c.gather([c.submit(time.sleep, 60)])
"""


@pytest.mark.parametrize("processes", [False, True])
def test_only_this_machine_reaches_it_and_there_is_no_page(processes: bool, listening):
    before = set(listening(os.getpid()))
    with client(Local(processes=processes, workers=2, memory="1 GB")) as c:
        assert c.gather(c.map(digest, ["a", "b"])) == [digest("a"), digest("b")]
        sockets = set(listening(os.getpid())) - before
        assert {address for address, _ in sockets} == {"127.0.0.1"}
        served = [c.run_on_scheduler(lambda dask_scheduler: dask_scheduler.http_server.port)]
        served += c.run(lambda dask_worker: dask_worker.http_server.port).values()
        assert {("127.0.0.1", port) for port in served} <= sockets
        for port in served:
            for page in ("", "status", "info/main/workers.html", "metrics", "json/counts.json"):
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5)
        if processes:
            workers = c.scheduler_info()["workers"].values()
            assert [(w["memory_limit"], w["nthreads"]) for w in workers] == [(10**9, 1)] * 2
            for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
                assert set(c.run(os.getenv, name).values()) == {"1"}
    assert set(listening(os.getpid())) == before
    assert dask.config.get("distributed.scheduler.http.routes")  # as it was, for other uses of Dask


def test_no_process_is_left_where_the_work_fails():
    during: list[psutil.Process] = []

    def fail() -> None:
        with client(Local(processes=True, workers=1)):
            during.extend(p for p in psutil.Process().children(recursive=True) if _is_worker(p.pid))
            raise KeyError("a defect")

    with pytest.raises(KeyError, match="a defect"):
        fail()
    assert during
    _, alive = psutil.wait_procs(during, timeout=10)
    assert not alive


def _is_worker(pid: int) -> bool:
    try:
        words = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
    return "spawn_main" in words


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_driver_that_is_ended_takes_its_workers_with_it(number: signal.Signals, tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "up\n"
        workers = [p for p in psutil.Process(driver.pid).children(recursive=True) if _is_worker(p.pid)]
        assert workers
        driver.send_signal(number)
        assert driver.wait(30) != 0  # a step that was ended did not succeed
    finally:
        driver.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
