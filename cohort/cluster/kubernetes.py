"""Workers as pods of the Dask operator. Its own KubeCluster speaks tcp:// only, so the resource is made here, with TLS
between all pods, and this process comes in through the API server's port forwarding."""

import contextlib
import importlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

from cohort.cluster.connect import NOWHERE, one_thread, wait
from cohort.cluster.kinds import ClusterError, Kubernetes

PORT = 8786
MOUNT = "/etc/cohort/tls"
TLS = ["--tls-ca-file", f"{MOUNT}/ca.crt", "--tls-cert", f"{MOUNT}/tls.crt", "--tls-key", f"{MOUNT}/tls.key"]
HEALTH = "import urllib.request as r; r.urlopen('http://127.0.0.1:8787/health', timeout=5)"


@contextlib.contextmanager
def kubernetes(cluster: Kubernetes) -> Iterator[Any]:
    """A client of the pods' workers; the resource is deleted afterwards. Errors: ClusterError when Kubernetes does not
    answer or has no operator, and when scheduler or workers did not come in time."""
    from distributed import Client

    from cohort.cluster.tls import security

    try:
        objects: Any = importlib.import_module("kr8s.objects")
    except ImportError:
        raise ClusterError(
            "Kubernetes needs dask-kubernetes; install cohort with its extra: insilico-cohort[kubernetes]"
        ) from None
    trusted = security(cluster.tls)
    name = f"cohort-{uuid.uuid4().hex[:8]}"
    with _explained(cluster):
        resource = objects.new_class("DaskCluster", "kubernetes.dask.org/v1", asyncio=False)(
            manifest(cluster, name), namespace=cluster.namespace
        )
        resource.create()
    try:
        with _explained(cluster):
            pod = _scheduler(objects, cluster, name)
            forward = pod.portforward(PORT, local_port="auto")
            forward.start()
        try:
            while not forward.local_port:
                time.sleep(0.1)
            with Client(f"tls://127.0.0.1:{forward.local_port}", security=trusted) as found:
                wait(found, cluster.patience, lambda: f"see kubectl -n {cluster.namespace} describe daskcluster {name}")
                yield found
        finally:
            forward.stop()
    finally:
        with _explained(cluster):
            resource.delete()


def _scheduler(objects: Any, cluster: Kubernetes, name: str) -> Any:
    """The scheduler's pod, once it is ready. Errors: ClusterError."""
    selector = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    until = time.monotonic() + cluster.patience
    while time.monotonic() < until:
        for pod in objects.Pod.list(namespace=cluster.namespace, label_selector=selector):
            if pod.ready():
                return pod
        time.sleep(1)
    raise ClusterError(
        f"no scheduler came within {cluster.patience:g} s; is the Dask operator installed? "
        f"kubectl -n {cluster.namespace} describe daskcluster {name} says more"
    )


@contextlib.contextmanager
def _explained(cluster: Kubernetes) -> Iterator[None]:
    """What the API server, or the way to it, complains about, as a ClusterError; around calls of kr8s alone."""
    try:
        yield
    except ClusterError:
        raise
    except Exception as e:
        said = str(e) or type(e).__name__
        hint = "; is the Dask operator installed?" if "404" in said or "not found" in said else ""
        raise ClusterError(f"Kubernetes, namespace {cluster.namespace}: {said}{hint}") from None


def manifest(cluster: Kubernetes, name: str = "cohort") -> dict[str, Any]:
    """The DaskCluster resource: a scheduler that only TLS reaches, and workers of one process each."""
    from dask.utils import parse_bytes

    scheduler = {
        "name": "scheduler",
        "command": ["python", "-m", "distributed.cli.dask_scheduler"],
        "args": [
            *("--host", "0.0.0.0", "--port", str(PORT), "--protocol", "tls", *TLS),
            *("--no-dashboard", "--dashboard-address", "127.0.0.1:8787"),
        ],
        # Health alone, and inside the pod alone: no page of Dask's is served to others.
        "env": [{"name": "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES", "value": "['distributed.http.health']"}],
        "ports": [{"name": "tcp-comm", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources("1", 2 * 2**30),
        "readinessProbe": {"exec": {"command": ["python", "-c", HEALTH]}, "periodSeconds": 5, "timeoutSeconds": 10},
        "livenessProbe": {"exec": {"command": ["python", "-c", HEALTH]}, "periodSeconds": 60, "timeoutSeconds": 30},
    }
    worker = {
        "name": "worker",
        "command": ["python", "-m", "distributed.cli.dask_worker"],
        "args": [
            *(f"tls://{name}-scheduler.{cluster.namespace}.svc:{PORT}", "--name", "$(DASK_WORKER_NAME)"),
            *("--protocol", "tls", *TLS, "--no-dashboard", "--dashboard-address", NOWHERE),
            *("--nthreads", str(cluster.cores), "--memory-limit", str(parse_bytes(cluster.memory))),
            *("--local-directory", "/tmp", "--death-timeout", "60"),
        ],
        "env": [
            {"name": "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES", "value": "[]"},
            *({"name": key, "value": value} for key, value in one_thread(cluster.cores).items()),
        ],
        "resources": _resources(str(cluster.cores), parse_bytes(cluster.memory)),
    }
    if cluster.credentials:
        worker["envFrom"] = [{"secretRef": {"name": cluster.credentials}}]
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "cohort"}},
        "spec": {
            "scheduler": {
                "spec": _pod(cluster, scheduler),
                "service": {
                    "type": "ClusterIP",
                    "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
                    "ports": [{"name": "tcp-comm", "protocol": "TCP", "port": PORT, "targetPort": "tcp-comm"}],
                },
            },
            "worker": {"replicas": cluster.workers, "spec": _pod(cluster, worker)},
        },
    }


def _resources(cpu: str, memory: int) -> dict[str, Any]:
    """memory: bytes."""
    amount = {"cpu": cpu, "memory": str(memory)}
    return {"requests": amount, "limits": amount}


def _pod(cluster: Kubernetes, container: dict[str, Any]) -> dict[str, Any]:
    """A pod of one container that holds the certificates and no rights in Kubernetes."""
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            container
            | {
                "image": cluster.image,
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "tls", "mountPath": MOUNT, "readOnly": True}],
            }
        ],
        "volumes": [{"name": "tls", "secret": {"secretName": cluster.tls.secret}}],
    }
