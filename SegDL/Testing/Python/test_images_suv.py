"""PET series to SUV: every decay correction by hand, and the word for every wrong attribute."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pydicom
import pytest
from dicom_series import write_series
from pydicom.dataset import Dataset
from realdata import real_file
from SegDLEngine.errors import InputError
from SegDLEngine.images.checks import check_image
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image
from SegDLEngine.images.writing import write_image
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from threshold_model import write_threshold_package

PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"
HALF_LIFE, DOSE, WEIGHT = 6588.0, 3.5e8, 70.0
# Every slice has its own slope.
SLOPES = [(1.5, 0.0), (0.5, 0.0), (2.0, 0.0)]


def values() -> np.ndarray:
    """Bq/ml (k, j, i) that all slopes store without loss."""
    return np.random.default_rng(3).integers(0, 2000, (3, 5, 6)) * 6.0


def write_pet(folder, array=None, *, injection=None, slices=None, rescale=SLOPES, **attributes):
    """A PET series: scanned 10:30:00, injected 9:30:00; None removes an attribute."""
    item = {
        "RadionuclideTotalDose": DOSE,
        "RadionuclideHalfLife": HALF_LIFE,
        "RadiopharmaceuticalStartTime": "093000.00",
        **(injection or {}),
    }
    sequence = Dataset()
    for name, value in item.items():
        if value is not None:
            setattr(sequence, name, value)
    common = {
        "SOPClassUID": PET_IMAGE,
        "Modality": "PT",
        "RescaleType": None,
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "PatientWeight": WEIGHT,
        "RadiopharmaceuticalInformationSequence": [sequence],
        "SeriesDate": "20240301",
        "SeriesTime": "103000.00",
        "AcquisitionDate": "20240301",
        "AcquisitionTime": "103000.00",
        **attributes,
    }
    array = values() if array is None else array
    changes = {index: {**common, **(slices or {}).get(index, {})} for index in range(len(array))}
    return write_series(folder, array, rescale=rescale, changes=changes)


def add_private(paths, elements):
    for path in paths:
        data = pydicom.dcmread(path)
        block = data.private_block(0x7053, "Philips PET Private Group", create=True)
        for offset, value in elements.items():
            block.add_new(offset, "DS", str(value))
        data.save_as(path)


def suv_factor(seconds: float) -> float:
    return WEIGHT * 1000 / (DOSE * 0.5 ** (seconds / HALF_LIFE))


def read_suv(path, warnings=None) -> Image:
    heard = warnings if warnings is not None else []
    return read_image(path, modality="PET", unit="SUV", warn=lambda code, text: heard.append((code, text)))


def test_start_is_decayed_to_the_series(tmp_path):
    write_pet(tmp_path)
    warnings: list[tuple[str, str]] = []
    image = read_suv(tmp_path, warnings)
    assert image.array == pytest.approx(values() * suv_factor(3600), rel=1e-6)
    assert image.array.dtype == np.float32
    assert (image.modality, image.unit) == ("PT", "SUV")
    check_image(image, "PET", modality="PET", unit="SUV")
    details = image.metadata["suv"]
    assert details["from"] == "BQML" and details["decay_correction"] == "START"
    assert details["factor"] == pytest.approx([suv_factor(3600)] * 2)
    assert (details["injection"], details["reference"]) == ("09:30:00", "10:30:00")
    assert details["reference_source"] == "SeriesTime (0008,0031)"
    assert details["decay_s"] == [3600, 3600]
    [(code, text)] = warnings
    assert code == "suv" and "BQML converted to SUV" in text and "09:30:00 to 10:30:00" in text
    kept = json.dumps(image.metadata).lower()
    assert "secret" not in kept and "20240301" not in kept


def test_without_the_wish_the_activity_stays(tmp_path):
    write_pet(tmp_path)
    image = read_image(tmp_path)
    assert image.unit == "BQML" and "suv" not in image.metadata
    assert image.array == pytest.approx(values())


def test_admin_needs_no_times(tmp_path):
    times = {"RadiopharmaceuticalStartTime": None, "RadionuclideHalfLife": None}
    write_pet(tmp_path, injection=times, DecayCorrection="ADMIN", SeriesTime=None, AcquisitionTime=None)
    image = read_suv(tmp_path)
    assert image.array == pytest.approx(values() * suv_factor(0), rel=1e-6)
    assert image.metadata["suv"]["decay_correction"] == "ADMIN"


def test_none_decays_every_slice_to_its_own_time(tmp_path):
    own = {
        0: {"AcquisitionTime": "103000"},
        1: {"AcquisitionTime": "104000"},
        2: {"AcquisitionTime": "105000"},
    }
    write_pet(tmp_path / "short", slices=own, DecayCorrection="NONE", CorrectedImage=["ATTN"])
    factors = np.array([suv_factor(seconds) for seconds in (3600, 4200, 4800)])[:, None, None]
    assert read_suv(tmp_path / "short").array == pytest.approx(values() * factors, rel=1e-6)
    write_pet(
        tmp_path / "long", DecayCorrection="NONE", CorrectedImage=["ATTN"], ActualFrameDuration=1_800_000
    )
    image = read_suv(tmp_path / "long")
    decay = np.log(2) / HALF_LIFE
    seconds = np.linspace(0, 1800, 180001)
    mean_activity = np.exp(-decay * (3600 + seconds)).mean()
    assert image.array == pytest.approx(values() * WEIGHT * 1000 / (DOSE * mean_activity), rel=1e-5)


@pytest.mark.parametrize(
    ("attributes", "injection", "seconds", "source"),
    [
        ({"SeriesTime": "102500"}, {}, 3300, "SeriesTime"),
        ({"SeriesTime": "140000"}, {}, 3600, "AcquisitionTime"),
        ({"SeriesDate": "20240305", "SeriesTime": "080000"}, {}, 3600, "AcquisitionTime"),
        ({"SeriesTime": None}, {}, 3600, "AcquisitionTime"),
        ({"AcquisitionTime": None, "AcquisitionDate": None}, {}, 3600, "SeriesTime"),
        ({"AcquisitionDate": None}, {}, 3600, "SeriesTime"),
        ({"SeriesTime": "10:30"}, {}, 3600, "SeriesTime"),
        (
            {"SeriesTime": "003000", "AcquisitionTime": "003000"},
            {"RadiopharmaceuticalStartTime": "234500"},
            2700,
            "SeriesTime",
        ),
        (
            {"SeriesTime": "003000", "AcquisitionTime": "003000"},
            {
                "RadiopharmaceuticalStartTime": None,
                "RadiopharmaceuticalStartDateTime": "20240229234500.00+0100",
            },
            2700,
            "SeriesTime",
        ),
        (
            {"SeriesDate": None, "AcquisitionDate": None},
            {"RadiopharmaceuticalStartDateTime": "20240301093000"},
            3600,
            "SeriesTime",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR TM")
def test_which_times_count(tmp_path, attributes, injection, seconds, source):
    write_pet(tmp_path, injection=injection, **attributes)
    image = read_suv(tmp_path)
    assert image.metadata["suv"]["decay_s"] == [seconds, seconds]
    assert image.metadata["suv"]["reference_source"].startswith(source)
    assert image.array == pytest.approx(values() * suv_factor(seconds), rel=1e-6)


def test_the_first_bed_position_counts(tmp_path):
    own = {0: {"AcquisitionTime": "104000"}, 2: {"AcquisitionTime": "102000"}}
    write_pet(tmp_path, slices=own, SeriesTime="150000")
    assert read_suv(tmp_path).metadata["suv"]["reference"] == "10:20:00"


def test_ge_start_of_the_scan_when_the_series_is_younger(tmp_path):
    for path in write_pet(tmp_path, SeriesTime="150000"):
        data = pydicom.dcmread(path)
        data.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240301101500.00")
        data.save_as(path)
    details = read_suv(tmp_path).metadata["suv"]
    assert details["reference"] == "10:15:00" and "(0009,100d)" in details["reference_source"]


@pytest.mark.parametrize(
    ("attributes", "injection", "words"),
    [
        ({"PatientWeight": None}, {}, r"PatientWeight \(0010,1030\) is missing"),
        ({"PatientWeight": 0}, {}, r"PatientWeight \(0010,1030\) is '0', not a positive"),
        ({"PatientWeight": 70000}, {}, r"PatientWeight \(0010,1030\) is 70000, which cannot be kilograms"),
        ({}, {"RadionuclideTotalDose": None}, r"RadionuclideTotalDose \(0018,1074\) is missing"),
        ({}, {"RadionuclideTotalDose": 0}, r"RadionuclideTotalDose \(0018,1074\) is '0', not a positive"),
        ({}, {"RadionuclideTotalDose": 350}, r"RadionuclideTotalDose \(0018,1074\) is 350.*MBq"),
        ({}, {"RadionuclideHalfLife": None}, r"RadionuclideHalfLife \(0018,1075\) is missing"),
        ({}, {"RadionuclideHalfLife": 109.8}, r"60 min before .*RadionuclideHalfLife \(0018,1075\) 109\.8"),
        (
            {},
            {"RadiopharmaceuticalStartTime": None},
            r"RadiopharmaceuticalStartTime \(0018,1072\) and Radio.*\(0018,1078\) are missing",
        ),
        ({}, {"RadiopharmaceuticalStartTime": "113000"}, r"\(0018,1072\)\) at 11:30:00 is 1380 min before"),
        (
            {},
            {"RadiopharmaceuticalStartDateTime": "20240301083000"},
            r"\(0018,1072\) 09:30:00 contradicts .*\(0018,1078\) 08:30:00",
        ),
        ({"RadiopharmaceuticalInformationSequence": None}, {}, r"\(0054,0016\) is missing"),
        ({"DecayCorrection": None}, {}, r"DecayCorrection \(0054,1102\) is missing"),
        ({"DecayCorrection": "OTHER"}, {}, r"DecayCorrection \(0054,1102\) is 'OTHER', START"),
        (
            {"DecayCorrection": "NONE"},
            {},
            r"DecayCorrection \(0054,1102\) is NONE but CorrectedImage.* has DECY",
        ),
        ({"CorrectedImage": ["ATTN"]}, {}, r"is START but CorrectedImage \(0028,0051\) has no DECY"),
        ({"CorrectedImage": ["DECY", "NORM"]}, {}, r"CorrectedImage \(0028,0051\) has no ATTN"),
        (
            {"SeriesTime": None, "AcquisitionTime": None},
            {},
            r"SeriesTime \(0008,0031\) and Acq.*\(0008,0032\)",
        ),
        ({"Units": None}, {}, r"Units \(0054,1001\) is missing"),
        ({"Units": "PROPCPS"}, {}, r"Units \(0054,1001\) is 'PROPCPS', BQML or CNTS"),
        ({"Units": "GML", "SUVType": "LBM"}, {}, r"Units .* is 'GML' with SUVType \(0054,1006\) LBM"),
        ({"Units": "CNTS"}, {}, r"neither .*\(7053,1000\).* nor .*\(7053,1009\)"),
    ],
)
def test_wrong_attributes_are_refused_by_name(tmp_path, attributes, injection, words):
    write_pet(tmp_path, injection=injection, **attributes)
    with pytest.raises(InputError, match=words) as caught:
        read_suv(tmp_path)
    assert "cannot be converted to SUV" in caught.value.text and "'Test series'" in caught.value.text
    assert caught.value.hint and caught.value.code == "suv"


def test_slices_of_different_weights_are_refused(tmp_path):
    write_pet(tmp_path, slices={1: {"PatientWeight": 80}})
    with pytest.raises(InputError, match=r"PatientWeight \(0010,1030\) differs between the slices"):
        read_suv(tmp_path)


def test_counts_by_the_scanners_suv_factor(tmp_path):
    add_private(write_pet(tmp_path, Units="CNTS", PatientWeight=None), {0x00: 0.0025, 0x09: 1.3})
    image = read_suv(tmp_path)
    assert image.array == pytest.approx(values() * 0.0025, rel=1e-6)
    assert image.metadata["suv"]["factor"] == [0.0025, 0.0025]


def test_counts_by_the_scanners_activity_factor(tmp_path):
    add_private(write_pet(tmp_path, Units="CNTS"), {0x00: 0, 0x09: 1.3})
    assert read_suv(tmp_path).array == pytest.approx(values() * 1.3 * suv_factor(3600), rel=1e-6)


def test_what_is_suv_already_is_taken_as_it_is(tmp_path):
    write_pet(tmp_path / "gml", values() / 2400, Units="GML", SUVType="BW", PatientWeight=None)
    warnings: list[tuple[str, str]] = []
    image = read_suv(tmp_path / "gml", warnings)
    assert image.unit == "SUV" and not warnings
    assert np.abs(image.array - values() / 2400).max() <= 1
    write_image(image, tmp_path / "suv.nrrd")
    again = read_suv(tmp_path / "suv.nrrd", warnings)
    assert (again.modality, again.unit) == ("PET", "SUV") and not warnings
    assert np.array_equal(again.array, image.array)


def test_a_volume_in_activity_is_not_taken_for_suv(tmp_path):
    write_pet(tmp_path / "series")
    write_image(read_image(tmp_path / "series"), tmp_path / "activity.nrrd")
    with pytest.raises(InputError, match="no SUV") as caught:
        check_image(read_suv(tmp_path / "activity.nrrd"), "PET", modality="PET", unit="SUV")
    assert "DICOM series" in caught.value.hint


def test_model_for_suv_takes_a_series_in_activity(tmp_path):
    activity = np.full((8, 16, 16), 600.0)
    activity[2:6, 4:12, 4:12] = 30000
    write_pet(tmp_path / "series", activity, rescale=(2.0, 0.0))
    inputs = [{"name": "PET", "modality": "PET", "unit": "SUV", "required": True}]
    window = {"step": "window", "low": 0, "high": 10}
    model = write_threshold_package(tmp_path / "model", inputs=inputs, preprocessing=[window])
    options = SegmentOptions(device="cpu", precision="fp32")
    result = segment({"PET": tmp_path / "series"}, model, options)
    assert np.array_equal(result.labels.array > 0, activity > 1000)
    assert result.lesions[0]["maximum"] == pytest.approx(30000 * suv_factor(3600), rel=1e-5)
    assert [event["code"] for event in result.warnings] == ["suv"]
    assert result.provenance["inputs"]["PET"]["suv"]["decay_correction"] == "START"
    with pytest.raises(InputError, match=r"is in BQML, the model expects SUV"):
        segment({"PET": read_image(tmp_path / "series")}, model, options)


@pytest.mark.real_data
def test_real_series_equals_an_independent_computation():
    folder = real_file("dicom", "pet_raw", "image")
    image = read_suv(folder)
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda data: data.ImagePositionPatient[2])
    assert image.grid.size[2] == len(slices)
    for index, data in enumerate(slices):
        item = data.RadiopharmaceuticalInformationSequence[0]
        activity = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        start = datetime.strptime(str(data.SeriesTime), "%H%M%S.%f")
        injected = datetime.strptime(str(item.RadiopharmaceuticalStartTime), "%H%M%S.%f")
        half_lives = (start - injected).total_seconds() / float(item.RadionuclideHalfLife)
        dose = float(item.RadionuclideTotalDose) / 2**half_lives
        expected = activity * float(data.PatientWeight) * 1000 / dose
        assert np.abs(image.array[index] - expected).max() < 1e-3
    assert 5 < image.array.max() < 100
