"""Files from elsewhere, read within bounds: plain YAML, CSV, Parquet, HDF5, ids, and paths that stay in the project.

Whoever sends such a file may mean harm or have slipped: it is plain data, of bounded size and depth, or it is refused
with a reason. Nothing here runs code of a file, follows it elsewhere, or unpacks an archive. `SECURITY.md` says which
files are trusted.
"""

from cohort.bounded.files import BoundError, inside, printable, text
from cohort.bounded.hdf5 import check_hdf5
from cohort.bounded.ids import odd_id
from cohort.bounded.plain import Place, Source, read
from cohort.bounded.tables import csv_rows, parquet

__all__ = [
    "BoundError",
    "Place",
    "Source",
    "check_hdf5",
    "csv_rows",
    "inside",
    "odd_id",
    "parquet",
    "printable",
    "read",
    "text",
]
