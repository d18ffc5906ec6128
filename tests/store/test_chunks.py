"""A chunk is there whole or not at all, in a folder as in a bucket."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from cohort.store import Store, StoreError, place_of

TABLE = pl.DataFrame({"subject": ["1", "2"], "c": [0.1, None]})
MOTO = Path(__file__).parents[2] / ".tools/peers/bin/moto_server"


@pytest.fixture(scope="session")
def bucket() -> Iterator[tuple[str, str]]:
    """A bucket of an S3-compatible server on loopback: its URL and the server's endpoint."""
    if not MOTO.is_file():
        pytest.skip("no S3-compatible server: `make test-faults` installs one in .tools/peers")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen(
        [MOTO, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    secrets = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in secrets}
    os.environ.update(secrets)
    try:
        for _ in range(300):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        from pyarrow.fs import S3FileSystem

        endpoint = f"http://127.0.0.1:{port}"
        S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True).create_dir("trials")
        yield "s3://trials", endpoint
    finally:
        server.kill()
        server.wait()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.faults)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store.at(tmp_path / "state")
    url, endpoint = request.getfixturevalue("bucket")
    return Store.at(f"{url}/{tmp_path.name}", endpoint)


def test_a_committed_chunk_reads_back(store: Store):
    assert not store.committed("a")
    store.commit("a", TABLE)
    assert store.committed("a")
    assert store.read("a").equals(TABLE)
    assert store.place.names() == ["a.commit", "a.parquet"]


@pytest.mark.parametrize("lost", ["a.commit", "a.parquet"])
def test_half_a_chunk_does_not_exist(store: Store, lost: str):
    store.commit("a", TABLE)
    store.place.remove(lost)
    assert not store.committed("a")
    with pytest.raises(StoreError, match="chunk a is missing or damaged"):
        store.read("a")


@pytest.mark.parametrize("name", ["a.parquet", "a.commit"])
@pytest.mark.parametrize("place", [0, 30, -1])
def test_a_chunk_with_one_wrong_bit_does_not_exist(store: Store, name: str, place: int):
    store.commit("a", TABLE)
    raw = bytearray(store.place.get(name) or b"")
    raw[place] ^= 1
    store.place.put(name, bytes(raw))
    assert not store.committed("a")


@pytest.mark.parametrize("name", ["a.parquet", "a.commit"])
@pytest.mark.parametrize("length", [0, 10])
def test_a_truncated_chunk_does_not_exist(store: Store, name: str, length: int):
    store.commit("a", TABLE)
    store.place.put(name, (store.place.get(name) or b"")[:length])
    assert not store.committed("a")


def test_a_sidecar_of_another_chunk_commits_nothing(store: Store):
    store.commit("a", TABLE)
    store.commit("b", TABLE.reverse())
    store.place.put("a.commit", store.place.get("b.commit") or b"")
    assert not store.committed("a")


def test_a_damaged_chunk_is_set_aside_where_a_person_may_look_at_it(store: Store):
    store.commit("a", TABLE)
    store.place.put("a.parquet", b"nonsense")
    assert store.set_aside("a")
    assert store.place.names() == ["quarantine/a.commit", "quarantine/a.parquet"]
    assert store.place.get("quarantine/a.parquet") == b"nonsense"


def test_chunks_of_other_runs_are_removed_and_quarantine_is_kept(store: Store):
    for key in ("a", "b", "c"):
        store.commit(key, TABLE)
    store.note_failure("d", "Traceback")
    store.keep(["b"])
    assert store.place.names() == ["b.commit", "b.parquet", "quarantine/d.txt"]


@pytest.mark.parametrize("where", ["gs://bucket/a", "http://host/a", "s3://"])
def test_another_kind_of_place_is_refused(where: str):
    with pytest.raises(StoreError, match="write a folder or s3://bucket/prefix"):
        place_of(where)


def test_a_folder_that_is_copied_holds_the_same_chunks(tmp_path: Path):
    """As from another machine: nothing in it names where it was."""
    Store.at(tmp_path / "here").commit("a", TABLE)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert Store.at(tmp_path / "there").read("a").equals(TABLE)
