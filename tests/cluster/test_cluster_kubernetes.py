"""What is asked of Kubernetes: a resource that the Dask operator's own schema takes, and commands that Dask takes."""

import importlib.util
import json
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from distributed import Client

from cohort.cluster import ClusterError, Kubernetes, Tls, client
from cohort.cluster.kubernetes import MOUNT, PORT, manifest
from cohort.cluster.tls import security
from cohort.record import digest

CRD = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/crds/daskcluster.yaml"


def _cluster(certificates: Path = Path("/c"), **more: Any) -> Kubernetes:
    files = {"ca": certificates / "ours.pem", "cert": certificates / "client.pem", "key": certificates / "client.key"}
    tls = {name: str(file) for name, file in files.items()} | {"secret": "cohort-tls"}
    size = {"image": "example.org/cohort:1", "workers": 3, "cores": 2, "memory": "4 GB"}
    return Kubernetes.model_validate({"kind": "kubernetes", **size, "tls": tls, **more})


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    """Of a DaskCluster, as the operator brings it."""
    found = sorted((root / ".tools/peers").glob(f"lib/*/site-packages/{CRD}"))
    if not found:
        pytest.skip("no .tools/peers with dask-kubernetes; make test-faults installs it")
    definition = yaml.load(found[0].read_text(), Loader=yaml.CSafeLoader)
    assert definition["spec"]["names"]["kind"] == "DaskCluster"
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _unknown(schema: dict[str, Any], value: Any, place: str = "") -> Iterator[str]:
    """Keys that the API server would drop in silence, for the schema does not name them."""
    if isinstance(value, dict) and "properties" in schema:
        for key, inner in value.items():
            if key in schema["properties"]:
                yield from _unknown(schema["properties"][key], inner, f"{place}.{key}")
            elif key not in ("apiVersion", "kind", "metadata"):
                yield f"{place}.{key}"
    elif isinstance(value, list):
        for item in value:
            yield from _unknown(schema.get("items", {}), item, place)


@pytest.mark.parametrize("more", [{}, {"credentials": "s3", "namespace": "trials"}])
def test_the_resource_is_one_of_the_operators(schema: dict[str, Any], more: dict[str, str]):
    made = manifest(_cluster(Path("/c"), **more), "cohort-1")
    assert json.loads(json.dumps(made)) == made
    jsonschema.Draft202012Validator(schema).validate(made)
    assert list(_unknown(schema, made)) == []
    assert (made["apiVersion"], made["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")


def test_the_schema_does_see_what_is_wrong(schema: dict[str, Any]):
    made = manifest(_cluster())
    made["spec"]["worker"]["replicas"] = "three"
    made["spec"]["worker"]["spec"]["container"] = []
    assert not jsonschema.Draft202012Validator(schema).is_valid(made)
    assert list(_unknown(schema, made)) == [".spec.worker.spec.container"]


def test_what_pods_get_is_what_the_file_says():
    made = manifest(_cluster(credentials="s3", namespace="trials"), "cohort-1")["spec"]
    (worker,) = made["worker"]["spec"]["containers"]
    assert made["worker"]["replicas"] == 3
    assert worker["image"] == "example.org/cohort:1"
    assert worker["resources"]["limits"] == {"cpu": "2", "memory": "4000000000"} == worker["resources"]["requests"]
    assert worker["envFrom"] == [{"secretRef": {"name": "s3"}}]
    assert "tls://cohort-1-scheduler.trials.svc:8786" in worker["args"]
    for part in made["scheduler"], made["worker"]:
        assert part["spec"]["volumes"] == [{"name": "tls", "secret": {"secretName": "cohort-tls"}}]
        assert part["spec"]["automountServiceAccountToken"] is False
    assert [port["port"] for port in made["scheduler"]["service"]["ports"]] == [8786]


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@pytest.mark.faults
def test_its_commands_start_a_scheduler_and_a_worker(certificates: Path, tmp_path: Path, started: Callable):
    """Not in pods, but here: the same words, with this machine's ports, host name and folder of certificates."""
    for name, file in {"ca.crt": "ours.pem", "tls.crt": "scheduler.pem", "tls.key": "scheduler.key"}.items():
        shutil.copy(certificates / file, tmp_path / name)
    made = manifest(_cluster(certificates), "cohort-1")["spec"]
    port, health = _free(), _free()
    here = {
        MOUNT: str(tmp_path),
        "0.0.0.0": "127.0.0.1",
        "cohort-1-scheduler.default.svc": "127.0.0.1",
        str(PORT): str(port),
        "8787": str(health),
        "$(DASK_WORKER_NAME)": "one",
        "/tmp": str(tmp_path),
    }

    def start(part: str) -> None:
        (container,) = made[part]["spec"]["containers"]
        words = container["args"]
        for theirs, ours in here.items():
            words = [word if str(tmp_path) in word else word.replace(theirs, ours) for word in words]
        assert container["command"] == ["python", "-m", f"distributed.cli.dask_{part}"]
        started(part, *words, env={each["name"]: each["value"] for each in container["env"]})

    start("scheduler")
    start("worker")
    with Client(f"tls://127.0.0.1:{port}", security=security(_cluster(certificates).tls), timeout=60) as c:
        c.wait_for_workers(1, timeout=60)
        assert c.submit(digest, "a").result() == digest("a")
        (worker,) = c.scheduler_info()["workers"].values()
        assert (worker["id"], worker["nthreads"], worker["memory_limit"]) == ("one", 2, 4 * 10**9)
        assert urllib.request.urlopen(f"http://127.0.0.1:{health}/health", timeout=5).status == 200
        for page in ("status", "info/main/workers.html", "metrics", "json/counts.json", "api/v1/retire_workers"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{health}/{page}", timeout=5)
            assert refused.value.code == 404
    with pytest.raises((OSError, TypeError)):
        Client(f"tls://127.0.0.1:{port}", timeout=3)


def test_without_its_library_the_extra_is_named(certificates: Path):
    if importlib.util.find_spec("kr8s"):
        pytest.skip("dask-kubernetes is installed here")
    with pytest.raises(ClusterError, match=r"insilico-cohort\[kubernetes\]"), client(_cluster(certificates)):
        pass


def test_its_certificates_are_read_as_those_of_an_address(certificates: Path):
    assert isinstance(_cluster(certificates).tls, Tls)
