"""DICOM series: order, geometry, rescaling and the word for every fault."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_series import ct_values, write_series
from realdata import real_file
from SegDLEngine.errors import InputError
from SegDLEngine.images.reading import read_image


@pytest.fixture
def warnings():
    found: list[tuple[str, str]] = []
    return found


def read(path, warnings=None):
    return read_image(
        path, warn=lambda code, text: (warnings if warnings is not None else []).append((code, text))
    )


def test_sorted_by_position_whatever_the_names(tmp_path):
    values = ct_values()
    write_series(tmp_path, values, names=["f.dcm", "a.dcm", "x", "b.ima", "0.dcm", "c.dcm"])
    image = read(tmp_path)
    assert np.array_equal(image.array, values)
    assert image.array.dtype == np.int16
    assert image.grid.size == (10, 12, 6)
    assert image.grid.spacing == pytest.approx((0.8, 0.7, 2.5))
    assert image.grid.origin == pytest.approx((-20, 30, -100))
    assert (image.modality, image.unit) == ("CT", "HU")


def test_slices_written_downwards_are_turned_to_ascending(tmp_path):
    values = ct_values()
    write_series(tmp_path, values, step=(0, 0, -2.5))
    image = read(tmp_path)
    assert np.array_equal(image.array, values[::-1])
    assert image.grid.origin == pytest.approx((-20, 30, -112.5))
    assert np.linalg.det(image.grid.axes) == pytest.approx(1)


def test_oblique_and_sagittal_geometry(tmp_path):
    angle = np.radians(20)
    row = np.array([np.cos(angle), np.sin(angle), 0])
    column = np.array([0, 0, -1.0])
    values = ct_values()
    write_series(tmp_path, values, orientation=[*row, *column])
    image = read(tmp_path)
    expected = np.column_stack([row, column, np.cross(row, column)])
    assert np.abs(image.grid.axes - expected).max() < 1e-9
    point = image.grid.to_physical([[3, 4, 5]])[0]
    assert point == pytest.approx(
        np.array([-20, 30, -100]) + expected @ [3 * 0.8, 4 * 0.7, 5 * 2.5], abs=1e-6
    )
    assert np.array_equal(image.array, values)


def test_one_file_stands_for_its_series_only(tmp_path):
    first, second = ct_values(), ct_values(slices=4)
    write_series(tmp_path, first)
    chosen = write_series(tmp_path, second, names=["o1.dcm", "o2.dcm", "o3.dcm", "o4.dcm"])
    assert np.array_equal(read(chosen[2]).array, second)


def test_two_series_must_be_chosen(tmp_path):
    write_series(tmp_path / "a", ct_values(), uid="1.2.3.4")
    write_series(tmp_path / "b", ct_values(slices=4), uid="1.2.3.5")
    with pytest.raises(InputError, match=r"2 series.*6 images.*#1\.2\.3\.4.*4 images.*#1\.2\.3\.5") as caught:
        read(tmp_path)
    assert "#1.2.3.4" in caught.value.hint
    assert read(f"{tmp_path}#1.2.3.5").grid.size[2] == 4
    with pytest.raises(InputError, match=r"no series '#9\.9'"):
        read(f"{tmp_path}#9.9")


def test_missing_slice_is_refused_with_its_place(tmp_path):
    paths = write_series(tmp_path, ct_values())
    paths[3].unlink()
    with pytest.raises(
        InputError, match=r"gap: 5\.00 mm between the slices at -95\.00 and -90\.00 mm, 2\.50"
    ):
        read(tmp_path)


def test_uneven_steps_are_read_with_a_warning(tmp_path, warnings):
    values = ct_values()
    change = {3: {"ImagePositionPatient": [-20, 30, -100 + 3 * 2.5 + 0.1]}}
    write_series(tmp_path, values, changes=change)
    image = read(tmp_path, warnings)
    assert np.array_equal(image.array, values)
    assert image.grid.spacing[2] == pytest.approx(2.5)
    assert [code for code, _ in warnings] == ["uneven-slices"]
    assert "0.10 mm" in warnings[0][1]


def test_gantry_tilt_is_straightened_in_physical_space(tmp_path, warnings):
    shape, spacing, tilt = (12, 40, 30), np.array([1.0, 1.0, 3.0]), np.radians(15)
    step = np.array([0, 3.0 * np.tan(tilt), 3.0])
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    y = j * spacing[1] + k * step[1]
    z = k * step[2]
    values = np.rint(10 * i + 4 * y - 3 * z).astype(np.int16)
    write_series(tmp_path, values, spacing=(1.0, 1.0), origin=(0, 0, 0), step=step, thickness=3.0)
    image = read(tmp_path, warnings)
    assert [code for code, _ in warnings] == ["gantry-tilt"]
    assert "15.0 degrees" in warnings[0][1]
    assert np.abs(image.grid.axes - np.eye(3)).max() < 1e-9
    assert image.grid.spacing == pytest.approx((1, 1, 3))
    assert image.grid.size == (30, 40 + 9, 12)
    index = np.array([[10, 20, 5], [15, 25, 8], [3, 30, 11]])
    points = image.grid.to_physical(index)
    for (a, b, c), (x, y, z) in zip(index, points, strict=True):
        assert image.array[c, b, a] == pytest.approx(10 * x + 4 * y - 3 * z, abs=1.01)


def test_duplicate_positions_are_refused_and_copies_left_out(tmp_path, warnings):
    values = ct_values()
    paths = write_series(tmp_path, values)
    shutil.copy(paths[0], tmp_path / "copy.dcm")
    assert np.array_equal(read(tmp_path, warnings).array, values)
    assert [code for code, _ in warnings] == ["copies"]
    uid = pydicom.dcmread(paths[0]).SeriesInstanceUID
    write_series(tmp_path, values, uid=uid, names=[f"again{n}.dcm" for n in range(6)])
    with pytest.raises(InputError, match="12 images at 6 positions"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "different orientation"),
        ({"PixelSpacing": [0.9, 0.9]}, "mixes pixel spacings"),
        ({"ImagePositionPatient": [-10, 30, -95]}, "shifted against each other"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"PixelSpacing": [0, 0]}, "PixelSpacing 0 x 0"),
        ({"SamplesPerPixel": 3}, "colour image"),
        ({"PixelData": b"\0\0" * 30}, "damaged or cut off"),
        ({"RescaleSlope": 0}, "RescaleSlope 0"),
    ],
)
def test_faulty_slice_is_named(tmp_path, change, words):
    write_series(tmp_path, ct_values(), changes={2: change})
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_mixed_sizes_are_refused(tmp_path):
    paths = write_series(tmp_path, ct_values())
    uid = pydicom.dcmread(paths[0]).SeriesInstanceUID
    write_series(tmp_path, ct_values(1, 5, 5), uid=uid, names=["other.dcm"], origin=(-20, 30, -85))
    with pytest.raises(InputError, match="mixes images of 5 x 5 and 10 x 12 pixels"):
        read(tmp_path)


def test_cut_off_file_is_refused(tmp_path):
    paths = write_series(tmp_path, ct_values(rows=64, columns=64))
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"slice001\.dcm' is damaged or cut off"):
        read(tmp_path)
    paths[1].write_bytes(content[:300])
    with pytest.raises(InputError):
        read(paths[0].parent)


def test_localizer_and_other_objects_are_left_out(tmp_path, warnings):
    values = ct_values()
    paths = write_series(tmp_path, values)
    uid = pydicom.dcmread(paths[0]).SeriesInstanceUID
    scout = {
        0: {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
    }
    write_series(tmp_path, ct_values(1, 30, 30), uid=uid, names=["scout.dcm"], changes=scout)
    write_series(
        tmp_path,
        ct_values(1),
        names=["rs.dcm"],
        changes={0: {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3"}},
    )
    (tmp_path / "notes.txt").write_text("no image")
    assert np.array_equal(read(tmp_path, warnings).array, values)
    assert [code for code, _ in warnings] == ["localizer"]
    with pytest.raises(InputError, match="RT Structure Set Storage"):
        read(tmp_path / "rs.dcm")


def test_rescaling_of_every_slice_is_applied(tmp_path):
    values = ct_values(slices=3)
    write_series(tmp_path / "whole", values, rescale=[(1.0, -1024.0), (2.0, 0.0), (1.0, 0.0)])
    image = read(tmp_path / "whole")
    assert image.array.dtype == np.int16
    assert np.array_equal(image.array[[0, 2]], values[[0, 2]])
    assert np.abs(image.array[1] - values[1]).max() <= 1
    scaled = np.abs(values).astype(float) / 100
    write_series(tmp_path / "scaled", scaled, rescale=[(0.001, 0.0), (0.002, 0.0), (0.0005, 0.0)])
    image = read(tmp_path / "scaled")
    assert image.array.dtype == np.float32
    assert np.abs(image.array - scaled).max() < 0.0011


def test_values_beyond_int16_become_float32(tmp_path):
    values = ct_values(slices=3)
    write_series(tmp_path, values, rescale=[(1.0, 0.0)] * 3, changes={1: {"RescaleSlope": 100.0}})
    image = read(tmp_path)
    assert image.array.dtype == np.float32
    assert np.array_equal(image.array[1], values[1] * 100.0)
    assert np.array_equal(image.array[0], values[0])


def test_compressed_pixels_equal_plain_ones(tmp_path):
    values = ct_values()
    for path in write_series(tmp_path, values):
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless)
        data.save_as(path)
    assert np.array_equal(read(tmp_path).array, values)


def test_enhanced_multi_frame_object(tmp_path):
    values = ct_values()
    path = write_series(tmp_path, values[:1])[0]
    data = pydicom.dcmread(path)
    for name in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(data, name)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    order = [3, 0, 5, 1, 4, 2]
    data.NumberOfFrames = len(order)
    data.PixelData = (values[order] + 1024).astype(np.int16).tobytes()
    shared = pydicom.Dataset()
    shared.PlaneOrientationSequence = [pydicom.Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = [pydicom.Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.7, 0.8]
    shared.PixelValueTransformationSequence = [pydicom.Dataset()]
    shared.PixelValueTransformationSequence[0].RescaleSlope = 1
    shared.PixelValueTransformationSequence[0].RescaleIntercept = -1024
    data.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for place in order:
        frame = pydicom.Dataset()
        frame.PlanePositionSequence = [pydicom.Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [-20, 30, -100 + 2.5 * place]
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = frames
    data.save_as(path)
    image = read(path)
    assert np.array_equal(image.array, values)
    assert image.grid.spacing == pytest.approx((0.8, 0.7, 2.5))
    assert image.grid.origin == pytest.approx((-20, 30, -100))


def test_nothing_of_the_patient_is_kept(tmp_path):
    write_series(tmp_path, ct_values(), uid="1.2.3.4")
    image = read(tmp_path)
    assert image.metadata["SeriesInstanceUID"] == "1.2.3.4"
    assert image.metadata["SeriesDescription"] == "Test series"
    assert "secret" not in json.dumps(image.metadata).lower()


def test_folder_without_images(tmp_path):
    with pytest.raises(InputError, match="has no DICOM image"):
        read(tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("series", "modality", "unit"),
    [
        (("ct_phantom", "image"), "CT", "HU"),
        (("pet_raw", "image"), "PT", "BQML"),
        (("STS_025", "CT", "image"), "CT", "HU"),
        (("STS_025", "PET", "image"), "PT", "SUV"),
        (("STS_025", "MR_T1", "image"), "MR", ""),
    ],
)
def test_real_series_equal_what_gdcm_reads(series, modality, unit, warnings):
    folder = real_file("dicom", *series)
    image = read(folder, warnings)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    expected = reader.Execute()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(True)
    assert image.grid.size == expected.GetSize()
    assert image.grid.spacing == pytest.approx(expected.GetSpacing(), abs=1e-6)
    assert image.grid.origin == pytest.approx(expected.GetOrigin(), abs=1e-6)
    values = SimpleITK.GetArrayFromImage(expected)
    assert np.abs(image.array - values).max() <= 1e-6 * max(np.abs(values).max(), 1)
    assert (image.modality, image.unit) == (modality, unit)
    assert [code for code, _ in warnings] == (["uneven-slices"] if "pet_raw" in series else [])


@pytest.mark.real_data
def test_real_single_slice_is_a_volume(warnings):
    path = sorted(real_file("covid").glob("*.dcm"))[0]
    image = read(path, warnings)
    assert image.grid.size == (512, 512, 1)
    assert image.grid.spacing[2] == 1.25
    assert image.unit == "HU"
    assert image.array.min() < -900 and not warnings


@pytest.mark.real_data
def test_real_folder_with_several_series():
    with pytest.raises(InputError, match="3 series"):
        read(real_file("dicom", "STS_025"))
