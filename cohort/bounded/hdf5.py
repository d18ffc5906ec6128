"""HDF5 from elsewhere, which netCDF is: it may point to other files of this machine, and unpack to any size."""

from pathlib import Path

from cohort.bounded.files import BoundError

UNPACKED = 2**33  # bytes
OBJECTS = 20_000


def check_hdf5(path: Path) -> None:
    """Read by its structure alone: no data set kept in, or linked from, another file; not more than is read.
    Errors: BoundError. Opening it afterwards runs nothing: neither HDF5 nor xarray has pickles here."""
    import h5py

    wrong: list[str] = []
    seen = total = 0

    def look(name: str, link: object) -> bool | None:
        nonlocal seen, total
        seen += 1
        if seen > OBJECTS:
            wrong.append(f"more than {OBJECTS:,} objects")
            return True
        if not isinstance(link, h5py.HardLink):
            wrong.append(f"{name!r} is a link to elsewhere")
            return None
        found = file.get(name)
        if isinstance(found, h5py.Dataset):
            total += found.nbytes
            if found.external or found.is_virtual:
                wrong.append(f"{name!r} is kept in another file")
        return None

    try:
        with h5py.File(path, "r") as file:
            file.visititems_links(look)
    except (OSError, RuntimeError, ValueError, KeyError) as e:
        raise BoundError(f"{path}: not a whole HDF5 file: {e}") from None
    if total > UNPACKED:
        wrong.append(f"{total:,} bytes once unpacked; at most {UNPACKED:,} are read")
    if wrong:
        raise BoundError("\n".join(f"{path}: {line}" for line in wrong))
