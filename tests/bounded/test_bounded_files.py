"""Paths stay in the project, text has an end, ids are what they look like, and a terminal is not steered."""

import unicodedata
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from cohort.bounded import BoundError, check_hdf5, inside, odd_id, printable, text


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "a/../../secret", "link", "folder/secret"])
def test_no_path_leads_out_of_the_project(tmp_path: Path, file: str):
    root, out = tmp_path / "project", tmp_path / "elsewhere"
    root.mkdir()
    out.mkdir()
    (out / "secret").write_text("secret")
    (root / "link").symlink_to(out / "secret")
    (root / "folder").symlink_to(out)
    with pytest.raises(BoundError, match="leaves the project"):
        inside(file, root)


def test_links_within_the_project_are_followed(tmp_path: Path):
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "b.csv").symlink_to("a.csv")
    assert inside("b.csv", tmp_path) == tmp_path / "b.csv"


def test_text_has_an_end_and_is_utf8(tmp_path: Path):
    path = tmp_path / "t.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(BoundError, match=r"t\.yaml:2: not UTF-8"):
        text(path)
    path.write_text("x" * 101)
    with pytest.raises(BoundError, match="longer than the 100 bytes"):
        text(path, 100)


@pytest.mark.parametrize(
    "one",
    [
        None,
        "",
        " ",
        " 12",
        "12 ",
        "12\n",
        "\u00a012",
        "e\u0301",
        "1\u200b2",
        "12\u202e",
        "a\u00a0b",
        "a\tb",
        "\ufeff1",
        "x" * 300,
    ],
)
def test_an_id_that_another_could_be_taken_for_is_refused(one: str | None):
    assert odd_id(one)


@pytest.mark.parametrize("one", ["0012", "12", "a b", "é", "S-001/2", "患者1", "="])
def test_an_id_is_text(one: str):
    assert odd_id(one) is None


@given(st.text())
def test_no_two_good_ids_look_alike(one: str):
    if odd_id(one) is None:
        assert one == unicodedata.normalize("NFC", one).strip()
        assert printable(one) == one


@given(st.text())
def test_what_is_printable_steers_no_terminal(given_text: str):
    shown = printable(given_text)
    assert all(c == "\n" or unicodedata.category(c)[0] != "C" for c in shown)
    assert printable("bold \x1b[1m, \u202eback") == "bold \\x1b[1m, \\u202eback"


def test_a_posterior_as_xarray_writes_it_is_whole(tmp_path: Path):
    path = tmp_path / "posterior.nc"
    tree = xr.DataTree.from_dict(
        {"/posterior": xr.Dataset({"cl": (("chain", "draw"), np.zeros((2, 5)))}, attrs={"a": "é"})}
    )
    tree.to_netcdf(path)
    check_hdf5(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BoundError, match="not a whole HDF5 file"):
        check_hdf5(path)


def test_hdf5_that_reads_other_files_is_refused(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"12345678")
    with h5py.File(tmp_path / "linked.nc", "w") as f:
        f["x"] = h5py.ExternalLink("/etc/other.h5", "/x")
    with h5py.File(tmp_path / "kept.nc", "w") as f:
        f.create_dataset("x", (8,), "u1", external=[(str(tmp_path / "secret"), 0, 8)])
    with h5py.File(tmp_path / "virtual.nc", "w") as f:
        layout = h5py.VirtualLayout((8,), "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "kept.nc"), "x", (8,))
        f.create_virtual_dataset("x", layout)
    with h5py.File(tmp_path / "huge.nc", "w") as f:
        f.create_dataset("x", (2**40,), "f8", chunks=(1024,), compression="gzip")
    for name, said in (
        ("linked", "is a link to elsewhere"),
        ("kept", "kept in another file"),
        ("virtual", "kept in another file"),
        ("huge", "once unpacked"),
    ):
        with pytest.raises(BoundError, match=said):
            check_hdf5(tmp_path / f"{name}.nc")
