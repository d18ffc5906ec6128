"""Where chunks lie: a folder, or a bucket of an S3-compatible store, for workers that share no disk."""

import contextlib
import os
from pathlib import Path
from typing import Any, Protocol

from cohort.store.files import StoreError, write


class Place(Protocol):
    """Named pieces of bytes; `put` leaves a whole one or none."""

    def put(self, name: str, data: bytes) -> None: ...
    def get(self, name: str) -> bytes | None: ...
    def move(self, name: str, to: str) -> None: ...
    def remove(self, name: str) -> None: ...
    def names(self) -> list[str]: ...


class Folder:
    """A folder of a disk, which workers share if there are any."""

    def __init__(self, path: Path):
        self.path = path.absolute()

    def __str__(self) -> str:
        return str(self.path)

    def put(self, name: str, data: bytes) -> None:
        write(self.path / name, lambda temporary: temporary.write_bytes(data))

    def get(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def move(self, name: str, to: str) -> None:
        (self.path / to).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path / name, self.path / to)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        return sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*") if p.is_file())


class Bucket:
    """A prefix in an S3-compatible store. An object appears whole when its upload ends, so no renaming is needed.
    Credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their kin."""

    def __init__(self, url: str, endpoint: str | None = None):
        self.url, self.endpoint = url.rstrip("/"), endpoint
        self.prefix = self.url.removeprefix("s3://")

    def __str__(self) -> str:
        return self.url

    @property
    def _files(self) -> Any:
        from pyarrow.fs import S3FileSystem

        # pyarrow keeps connections by their settings, so that this costs little.
        return S3FileSystem(endpoint_override=self.endpoint) if self.endpoint else S3FileSystem()

    def put(self, name: str, data: bytes) -> None:
        with self._files.open_output_stream(f"{self.prefix}/{name}") as out:
            out.write(data)

    def get(self, name: str) -> bytes | None:
        try:
            with self._files.open_input_file(f"{self.prefix}/{name}") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def move(self, name: str, to: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.move(f"{self.prefix}/{name}", f"{self.prefix}/{to}")

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_file(f"{self.prefix}/{name}")

    def names(self) -> list[str]:
        from pyarrow.fs import FileSelector

        found = self._files.get_file_info(FileSelector(self.prefix, recursive=True, allow_not_found=True))
        return sorted(f.path.removeprefix(f"{self.prefix}/") for f in found if f.is_file)


def place_of(where: str | Path, endpoint: str | None = None) -> Place:
    """A folder, or `s3://bucket/prefix`. Errors: StoreError for another scheme."""
    if isinstance(where, str) and "://" in where:
        if not where.startswith("s3://") or len(where) <= len("s3://"):
            raise StoreError(f"store: {where!r} is no place for chunks; write a folder or s3://bucket/prefix")
        return Bucket(where, endpoint)
    return Folder(Path(where))
