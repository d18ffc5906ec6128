"""Chunks: tables under the hash of what determines them; only a chunk whose sidecar names its own hash is there."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.record import canonical, digest
from cohort.store.places import Place, StoreError, place_of


@dataclass(frozen=True)
class Store:
    """Chunks at one place. It travels to workers, who write there themselves. `patience`: s without a finished chunk
    after which a run is stalled."""

    place: Place
    patience: float = 900.0

    @classmethod
    def at(cls, where: str | Path, endpoint: str | None = None, patience: float = 900.0) -> "Store":
        return cls(place_of(where, endpoint), patience)

    def commit(self, key: str, table: pl.DataFrame, seconds: float = 0.0) -> None:
        """Write the chunk, then its sidecar, which tells how long it took to make: killed in between, there is none."""
        buffer = io.BytesIO()
        table.write_parquet(buffer, compression="lz4", statistics=False)  # measured: half the time of the default
        data = buffer.getvalue()
        self.place.put(f"{key}.parquet", data)
        self.place.put(
            f"{key}.commit", canonical({"rows": table.height, "seconds": seconds, "sha256": digest(data)}).encode()
        )

    def read(self, key: str) -> pl.DataFrame:
        """Errors: StoreError if the chunk is not there, or is not what its sidecar says."""
        data = self._checked(key)
        if data is None:
            raise StoreError(f"{self.place}: chunk {key} is missing or damaged since it was written; run again")
        return pl.read_parquet(io.BytesIO(data))

    def committed(self, key: str) -> bool:
        return self._checked(key) is not None

    def set_aside(self, key: str) -> bool:
        """Move what is left of a chunk that is not whole to quarantine/, where a person may look at it. Returns whether
        it had been whole once: its sidecar is there."""
        marked = self.place.get(f"{key}.commit") is not None
        for kind in ("parquet", "commit"):
            if self.place.get(f"{key}.{kind}") is not None:
                self.place.move(f"{key}.{kind}", f"quarantine/{key}.{kind}")
        return marked

    def keep(self, keys: Iterable[str]) -> None:
        """Remove the chunks of other runs, sidecar first; what is in quarantine stays."""
        wanted = set(keys)
        for name in self.place.names():  # in order: a .commit stands before its .parquet
            key, _, kind = name.rpartition(".")
            ours = kind in ("parquet", "commit") and "/" not in key
            if ours and (key not in wanted or key.startswith(".")):  # a dot: what a killed writer left
                self.place.remove(name)

    def note_failure(self, key: str, text: str) -> None:
        self.place.put(f"quarantine/{key}.txt", text.encode())

    def _checked(self, key: str) -> bytes | None:
        mark = self.place.get(f"{key}.commit")
        data = self.place.get(f"{key}.parquet") if mark is not None else None
        if mark is None or data is None:
            return None
        try:
            named = json.loads(mark)["sha256"]
        except (ValueError, KeyError, TypeError):
            return None
        return data if named == digest(data) else None
