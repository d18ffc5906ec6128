"""A scheduler that runs already, and is left running."""

import contextlib
import logging
import ssl
from collections.abc import Iterator
from typing import Any

from cohort.cluster.connect import wait
from cohort.cluster.kinds import Address, ClusterError


@contextlib.contextmanager
def address(cluster: Address) -> Iterator[Any]:
    """A client of that scheduler. Errors: ClusterError when it does not answer or does not believe our certificate."""
    from distributed import Client

    for part in ("client", "batched"):  # of a lost scheduler the run itself tells
        logging.getLogger(f"distributed.{part}").setLevel(logging.CRITICAL)
    from cohort.cluster.tls import security

    trusted = security(cluster.tls) if cluster.tls else None
    try:
        found = Client(
            cluster.address,
            security=trusted,
            timeout=min(cluster.patience, 30),
        )
    except (OSError, ssl.SSLError) as e:
        doubt = "; is its certificate, or ours, not from the authority in tls.ca?" if cluster.tls else ""
        raise ClusterError(f"{cluster.address} does not answer: {_reason(e)}{doubt}") from None
    with found:
        wait(found, cluster.patience, lambda: f"{cluster.address} has none; start dask worker {cluster.address}")
        yield found


def _reason(error: BaseException) -> str:
    while error.__cause__:
        error = error.__cause__
    return str(error) or type(error).__name__
