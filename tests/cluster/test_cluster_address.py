"""A scheduler elsewhere: certificates on both sides, or no answer."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from distributed import Client

from cohort.cluster import Address, ClusterError, Tls, client
from cohort.record import digest

TLS = ("--protocol", "tls", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")


def _flags(certificates: Path, holder: str, ca: str = "ours") -> list[str | Path]:
    files = {"ca-file": f"{ca}.pem", "cert": f"{holder}.pem", "key": f"{holder}.key"}
    return [word for name, file in files.items() for word in (f"--tls-{name}", certificates / file)]


def _tls(certificates: Path, holder: str = "client", ca: str = "ours", passphrase: str | None = None) -> Tls:
    names = {"ca": f"{ca}.pem", "cert": f"{holder}.pem", "key": f"{holder}.key"}
    given = {name: str(certificates / file) for name, file in names.items()}
    return Tls.model_validate(given | {"passphrase": passphrase})


def _to(address: str, tls: Tls | None, patience: str = "5 s") -> Address:
    return Address.model_validate({"kind": "address", "address": address, "tls": tls, "patience": patience})


@pytest.fixture
def scheduler(started: Callable, certificates: Path, tmp_path: Path) -> str:
    file = tmp_path / "scheduler.json"
    where = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
    started("scheduler", *where, *TLS, *_flags(certificates, "scheduler"))
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if file.is_file() and file.read_text().endswith("}"):
            return json.loads(file.read_text())["address"]
        time.sleep(0.1)
    raise AssertionError("dask scheduler did not start")


def _worker(started: Callable, certificates: Path, scheduler: str, holder: str = "worker", ca: str = "ours"):
    flags = ("--host", "127.0.0.1", "--death-timeout", "8", "--no-nanny", "--nthreads", "1")
    return started("worker", scheduler, *flags, *TLS, *_flags(certificates, holder, ca))


def test_work_is_done_over_there_with_certificates(scheduler: str, started: Callable, certificates: Path):
    assert scheduler.startswith("tls://")
    _worker(started, certificates, scheduler)
    where = _to(scheduler, _tls(certificates)).model_copy(update={"patience": 60.0})
    with client(where) as c:
        assert c.submit(digest, "a").result() == digest("a")
        assert c.submit(os.getpid, pure=False).result() != os.getpid()
    with client(where) as c:  # it was left running
        assert c.submit(digest, "b").result() == digest("b")


@pytest.mark.faults
def test_a_client_without_a_certificate_is_refused(scheduler: str):
    with pytest.raises((OSError, TypeError, ValueError)):
        Client(scheduler, timeout=4)
    with pytest.raises(OSError, match=r"Timed out|Connection"):
        Client(scheduler.replace("tls://", "tcp://"), timeout=4)


@pytest.mark.faults
def test_a_client_with_a_certificate_of_others_is_refused(scheduler: str, certificates: Path):
    for ca in ("ours", "theirs"):  # it believes the scheduler, or not even that
        where = _to(scheduler, _tls(certificates, "stranger", ca))
        with (
            pytest.raises(ClusterError, match=r"does not answer: .*or ours, not from the authority in tls\.ca"),
            client(where),
        ):
            pass


@pytest.mark.faults
def test_a_worker_that_is_not_trusted_is_not_taken(scheduler: str, started: Callable, certificates: Path):
    strangers = [_worker(started, certificates, scheduler, "stranger", ca) for ca in ("ours", "theirs")]
    for stranger in strangers:
        stranger.wait(60)
    with (
        pytest.raises(ClusterError, match=r"no worker came within 5 s; .* has none; start dask worker"),
        client(_to(scheduler, _tls(certificates))),
    ):
        pass


def test_a_scheduler_that_is_not_there_is_named():
    with (
        pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:1 does not answer"),
        client(_to("tcp://127.0.0.1:1", None)),
    ):
        pass


def test_every_file_that_cannot_be_used_is_named_at_once(tmp_path: Path, authority: Callable):
    authority(tmp_path, "ca", "open")
    (tmp_path / "open.key").chmod(0o644)
    (tmp_path / "open.pem").unlink()
    with (
        pytest.raises(ClusterError) as refused,
        client(_to("tls://127.0.0.1:1", _tls(tmp_path, "open", "none", "NONE"))),
    ):
        pass
    said = str(refused.value)
    assert "tls.ca: " in said
    assert "tls.cert: " in said
    assert "chmod 600" in said
    assert "the environment has no NONE" in said


def test_a_passphrase_comes_from_the_environment(tmp_path: Path, authority: Callable, monkeypatch: pytest.MonkeyPatch):
    from cohort.cluster.tls import security

    authority(tmp_path, "ca", "me", passphrase=b"open sesame")
    tls = _tls(tmp_path, "me", "ca", "COHORT_TEST_KEY")
    monkeypatch.setenv("COHORT_TEST_KEY", "open sesame")
    assert security(tls).get_connection_args("client")["ssl_context"] is not None
    monkeypatch.setenv("COHORT_TEST_KEY", "wrong")
    with pytest.raises(ClusterError, match="COHORT_TEST_KEY is not its passphrase") as refused:
        security(tls)
    assert "wrong" not in str(refused.value)
    with pytest.raises(ClusterError, match="a passphrase is needed; name its environment variable"):
        security(_tls(tmp_path, "me", "ca"))
