"""Where tasks run: a Dask client, from a file in config/cluster/ that no result depends on."""

from cohort.cluster.connect import client
from cohort.cluster.kinds import Address, Cluster, ClusterError, Kubernetes, Local, Slurm, Tls
from cohort.cluster.reader import named, read_cluster

__all__ = [
    "Address",
    "Cluster",
    "ClusterError",
    "Kubernetes",
    "Local",
    "Slurm",
    "Tls",
    "client",
    "named",
    "read_cluster",
]
