"""Image files: exact round trips, whole files only, and one readable line for every bad one."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK
from realdata import real_file
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.identity import identity
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.writing import write_image

FORMATS = (".nrrd", ".mha", ".nii.gz", ".nii")


def rotation(*angles: float) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn, (a, b) = np.eye(3), [n for n in range(3) if n != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def oblique_image(dtype=np.int16) -> Image:
    values = np.random.default_rng(3).integers(-1000, 1500, (9, 11, 13)).astype(dtype)
    axes = rotation(0.3, -0.2, 0.5)
    grid = Grid(
        (13, 11, 9), (0.9765625, 1 / 3, 3.27), (-249.51171875, -437.123456789, -1213.7), tuple(axes.ravel())
    )
    return Image(values, grid)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8])
def test_round_trip(tmp_path, extension, dtype):
    image = oblique_image(dtype)
    back = read_image(write_image(image, tmp_path / f"image{extension}"), modality="CT", unit="HU")
    assert back.array.dtype == dtype
    assert np.array_equal(back.array, image.array)
    error = np.abs(back.grid.ijk_to_lps - image.grid.ijk_to_lps)
    exact = extension in (".nrrd", ".mha")
    assert error[:3, :3].max() < (1e-12 if exact else 1e-6)
    assert error[:3, 3].max() < (1e-12 if exact else 1e-4)
    assert (back.modality, back.unit) == ("CT", "HU")
    assert os.listdir(tmp_path) == [f"image{extension}"]


def test_left_handed_axes_survive(tmp_path):
    image = oblique_image()
    flipped = Grid(image.grid.size, image.grid.spacing, image.grid.origin, (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    for extension in FORMATS:
        back = read_image(write_image(image.with_array(image.array, flipped), tmp_path / f"f{extension}"))
        assert np.abs(back.grid.ijk_to_lps - flipped.ijk_to_lps).max() < 1e-4


def test_metadata_reaches_the_header(tmp_path):
    text = {"model": "a", "note": "two\nlines", "list": [1, 2]}
    write_image(oblique_image(), tmp_path / "m.nrrd", metadata={"SegDL.Provenance": text, "SegDL.Model": "x"})
    stored = SimpleITK.ReadImage(str(tmp_path / "m.nrrd"))
    assert stored.GetMetaData("SegDL.Model") == "x"
    assert '"model": "a"' in stored.GetMetaData("SegDL.Provenance")


def test_bool_is_written_as_a_mask(tmp_path):
    image = oblique_image()
    back = read_labels(write_image(image.with_array(image.array > 0), tmp_path / "b.nrrd"))
    assert back.array.dtype == np.uint8
    assert np.array_equal(back.array, image.array > 0)


def test_labels_of_any_stored_type(tmp_path):
    image = oblique_image(np.float32)
    labels = np.arange(image.array.size).reshape(image.array.shape) % 300
    write_image(image.with_array(labels.astype(np.float32)), tmp_path / "l.nii.gz")
    back = read_labels(tmp_path / "l.nii.gz")
    assert back.array.dtype == np.uint16
    assert np.array_equal(back.array, labels)
    write_image(image, tmp_path / "image.nrrd")
    with pytest.raises(InputError, match="not a labelmap"):
        read_labels(tmp_path / "image.nrrd")


@pytest.mark.parametrize(
    ("target", "words"),
    [("image.png", "extension"), (".nrrd", "extension"), ("missing/image.nrrd", "does not exist")],
)
def test_unusable_target(tmp_path, target, words):
    with pytest.raises(InputError, match=words):
        write_image(oblique_image(), tmp_path / target)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot be written"):
        write_image(oblique_image(), tmp_path / "image.nrrd")


def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    target = tmp_path / "image.nrrd"
    target.write_text("old")

    def fail(image, path, *options):
        with open(path, "w") as stream:
            stream.write("half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(SimpleITK, "WriteImage", fail)
    with pytest.raises(InputError, match="disk full"):
        write_image(oblique_image(), target)
    assert os.listdir(tmp_path) == ["image.nrrd"]
    assert target.read_text() == "old"


def whole_file(folder, extension: str, compress: bool = True) -> bytes:
    path = write_image(oblique_image(), folder / f"whole{extension}", compress=compress)
    content = path.read_bytes()
    path.unlink()
    return content


def assert_refused(path, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_image(path)
    assert str(path) in caught.value.text
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_cut_off_file(tmp_path, extension, compress, kept):
    content = whole_file(tmp_path, extension, compress)
    path = tmp_path / f"cut{extension}"
    path.write_bytes(content[: int(len(content) * kept)])
    assert_refused(path, "is cut off")


@pytest.mark.parametrize("extension", [".nrrd", ".mha", ".nii.gz"])
def test_damaged_compressed_data(tmp_path, extension):
    content = bytearray(whole_file(tmp_path, extension))
    middle = len(content) * 3 // 4
    content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    path = tmp_path / f"damaged{extension}"
    path.write_bytes(content)
    assert_refused(path, "is damaged")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_nifti_with_values_that_are_no_numbers(tmp_path, extension, kind, bad):
    """ITK reads them as 0, which in a CT is water."""
    array = np.random.default_rng(1).normal(0, 300, (50, 60, 70)).astype(kind)
    path = tmp_path / f"ct{extension}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    assert np.array_equal(read_image(path).array, array)
    array[[3, 40, 49], 4, [5, 6, 69]] = bad
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    with pytest.raises(InputError, match="3 of 210000 values that are not finite") as caught:
        read_image(path)
    assert caught.value.code == "not-finite" and str(path) in caught.value.text


@pytest.mark.parametrize("extension", [*FORMATS, ".dcm", ".xyz", ""])
def test_text_and_nothing_under_an_image_name(tmp_path, extension):
    path = tmp_path / f"text{extension}"
    path.write_text("this is no image\n" * 40)
    assert_refused(path, "is not a|is no image")
    path.write_bytes(b"")
    assert_refused(path, r"empty \(0 bytes\)")


@pytest.mark.parametrize("extension", FORMATS)
def test_header_without_data(tmp_path, extension):
    content = whole_file(tmp_path, extension, compress=False)
    path = tmp_path / f"header{extension}"
    path.write_bytes(
        gzip.compress(gzip.decompress(content)[:300]) if extension == ".nii.gz" else content[:150]
    )
    assert_refused(path, "cut off|is not a")


def test_several_gzip_members_are_one_file(tmp_path):
    content = gzip.decompress(whole_file(tmp_path, ".nii.gz"))
    path = tmp_path / "members.nii.gz"
    path.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    assert np.array_equal(read_image(path).array, oblique_image().array)


@pytest.mark.parametrize(
    ("shape", "vector", "words"),
    [
        ((5, 6), False, "2D image"),
        ((3, 4, 5, 6), False, "4 dimensions"),
        ((4, 5, 6, 3), True, "3 values in every voxel"),
        ((5, 6, 3), True, "3 values in every voxel"),
    ],
)
def test_other_layouts(tmp_path, shape, vector, words):
    image = SimpleITK.GetImageFromArray(np.zeros(shape, np.uint8), isVector=vector)
    for extension in (".nii.gz", ".nrrd", ".mha"):
        path = tmp_path / f"layout{extension}"
        SimpleITK.WriteImage(image, str(path), True)
        assert_refused(path, words)


def test_fourth_dimension_of_one_is_dropped(tmp_path):
    image = oblique_image()
    stored = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(image.array)])
    SimpleITK.WriteImage(stored, str(tmp_path / "one.nii.gz"))
    assert np.array_equal(read_image(tmp_path / "one.nii.gz").array, image.array)


def nifti_with(folder, **fields):
    """A NIfTI file with header fields overwritten: name=(offset, format, values)."""
    content = bytearray(whole_file(folder, ".nii"))
    for offset, form, numbers in fields.values():
        struct.pack_into("<" + form, content, offset, *numbers)
    path = folder / "changed.nii"
    path.write_bytes(content)
    return path


def test_nifti_geometry_that_is_none(tmp_path):
    codes = {"qform": (252, "h", [0]), "sform": (254, "h", [1])}
    sheared = [1.0, 0.3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    path = nifti_with(tmp_path, **codes, rows=(280, "12f", sheared))
    assert_refused(path, "not at right angles")
    path = nifti_with(tmp_path, **codes, rows=(280, "12f", [float("nan")] * 12))
    assert_refused(path, "unusable geometry")


@pytest.mark.parametrize("length", [0, -5])
def test_nifti_without_voxels(tmp_path, length):
    assert_refused(nifti_with(tmp_path, length=(42, "h", [length])), "is empty")


def test_nrrd_without_voxels_or_axes(tmp_path):
    content = whole_file(tmp_path, ".nrrd", compress=False)
    path = tmp_path / "changed.nrrd"
    path.write_bytes(content.replace(b"sizes: 13 11 9", b"sizes: 0 11 9"))
    assert_refused(path, "is empty")
    head, data = content.split(b"\n\n", 1)
    lines = [
        b"space directions: (1,0,0) (0,1,0) (0,1,0)" if line.startswith(b"space directions") else line
        for line in head.split(b"\n")
    ]
    path.write_bytes(b"\n".join(lines) + b"\n\n" + data)
    assert_refused(path, "cannot be read|unusable geometry")


def test_missing_file(tmp_path):
    assert_refused(tmp_path / "none.nrrd", "does not exist")


def test_identity_depends_on_voxels_and_place_only(tmp_path):
    image = oblique_image()
    same = [read_image(write_image(image, tmp_path / f"a{extension}")) for extension in (".nrrd", ".mha")]
    assert {identity(item) for item in same} == {identity(image)}
    other = image.array.copy()
    other[4, 5, 6] += 1
    moved = Grid(image.grid.size, image.grid.spacing, (0, 0, 0), image.grid.direction)
    assert (
        len(
            {
                identity(image),
                identity(image.with_array(other)),
                identity(image.with_array(image.array, moved)),
            }
        )
        == 3
    )


def test_reading_module_loads_no_heavy_package():
    code = (
        "import SegDLEngine.images.reading, SegDLEngine.images.writing, SegDLEngine.images.resampling, sys; "
    )
    code += "sys.exit(','.join({'SimpleITK', 'pydicom', 'torch'} & set(sys.modules)) or 0)"
    folder = os.path.dirname(os.path.dirname(sys.modules["SegDLEngine"].__file__))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": folder}, capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.real_data
def test_real_images_are_whole():
    for parts in (("LUNG1-001", "ct_small_2x2x3.nii.gz"), ("lung1", "lung1_image.nrrd")):
        image = read_image(real_file("lung", *parts))
        assert image.array.dtype == np.int16 and image.array.min() == -1024
