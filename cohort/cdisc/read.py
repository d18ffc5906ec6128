"""ADaM files as the tables that `cohort.trial.adam` takes: transport files and Dataset-JSON, ours or a real trial's."""

from datetime import date
from pathlib import Path

import polars as pl

from cohort.cdisc.dataset import EPOCH, CdiscError, Dataset, clock
from cohort.cdisc.dataset_json import read_dataset_json
from cohort.cdisc.transport import read_transport

SINCE_1970 = (date(1970, 1, 1) - EPOCH).days


def read_adam(path: Path) -> pl.DataFrame:
    """The rows of a .xpt or Dataset-JSON file, with SAS dates as ISO 8601 text. Errors: CdiscError for another ending,
    and those of `read_transport` and `read_dataset_json`."""
    readers = {".xpt": read_transport, ".json": read_dataset_json}
    if path.suffix.lower() not in readers:
        raise CdiscError(f"{path}: neither .xpt nor .json; give a transport file of version 5 or Dataset-JSON 1.1")
    return dates_as_text(readers[path.suffix.lower()](path))


def dates_as_text(dataset: Dataset) -> pl.DataFrame:
    """The rows of a data set with SAS dates as ISO 8601 text."""
    dates = [v.name for v in dataset.variables if not v.is_text and clock(v.format) == "date"]
    days = ((pl.col(name).cast(pl.Int32) - SINCE_1970).cast(pl.Date).dt.strftime("%Y-%m-%d") for name in dates)
    return dataset.rows.with_columns(days)
