"""What is on disk: files written whole or not at all, chunks found again after a crash, one run at a time."""

from cohort.store.chunks import Store
from cohort.store.content import content_digest, table_digest
from cohort.store.files import NoRoom, room, sweep, write, write_rows, write_table, write_text
from cohort.store.lock import Busy, lock
from cohort.store.places import Bucket, Folder, StoreError, place_of
from cohort.store.run import Job, Stalled, run

__all__ = [
    "Bucket", "Busy", "Folder", "Job", "NoRoom", "Stalled", "Store", "StoreError",
    "content_digest", "lock", "place_of", "room", "run", "sweep", "table_digest",
    "write", "write_rows", "write_table", "write_text",
]  # fmt: skip
