"""Inputs that would give a confident wrong answer are refused, real ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from realdata import real_file
from SegDLEngine.errors import InputError
from SegDLEngine.images.checks import check_image
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image


def ct(scale: float = 1.0, offset: float = 0.0, dtype=np.float32) -> Image:
    """Air, fat, soft tissue and bone with noise."""
    generator = np.random.default_rng(5)
    tissue = generator.choice([-1000, -850, -100, 40, 700], (10, 12, 14))
    values = (tissue + generator.normal(0, 15, tissue.shape)).clip(-1024)
    return Image(
        (values * scale + offset).astype(dtype), Grid((14, 12, 10)), metadata={"path": "case/ct.nrrd"}
    )


def refused(image: Image, words: str, modality="CT", unit="HU") -> InputError:
    with pytest.raises(InputError, match=words) as caught:
        check_image(image, "CT", modality=modality, unit=unit)
    assert "\n" not in str(caught.value) and "'CT'" in caught.value.text
    return caught.value


def with_values(values) -> Image:
    image = ct()
    array = image.array.copy()
    array[0, 0, : len(values)] = values
    return image.with_array(array)


def test_plausible_ct_passes():
    check_image(ct(), "CT", modality="CT", unit="HU")
    check_image(ct(dtype=np.int16), "CT", modality="CT", unit="HU")


def test_values_that_are_not_finite():
    assert refused(with_values([np.nan, np.inf]), "2 of 1680 values that are not finite").code == "not-finite"
    refused(ct().with_array(np.full((10, 12, 14), np.nan, np.float32)), "1680 of 1680")


def test_constant():
    assert refused(ct(scale=0, offset=-1000), "constant: every voxel is -1000").code == "constant"


@pytest.mark.parametrize(
    ("scale", "offset", "words"),
    [
        (1, 1024, "MR, or a CT without its rescale intercept"),
        (1 / 4000, 0.256, r"scaled to 0\.\.1"),
        (255 / 4000, 65.28, "8-bit display values"),
        (1 / 500, 0, "normalised"),
        (100, 0, "too large"),
    ],
)
def test_ct_in_another_unit(scale, offset, words):
    error = refused(ct(scale, offset), words)
    assert error.code == "unit" and "ct.nrrd" in error.text


def test_declared_modality_and_unit():
    image = ct()
    pet = Image(np.abs(image.array), image.grid, "PT", "BQML")
    refused(pet, "is PT, the model expects CT")
    refused(pet, "is in BQML, the model expects SUV", "PET", "SUV")
    refused(Image(pet.array * 50, image.grid, "PT"), "no SUV", "PET", "SUV")
    check_image(Image(pet.array / 100, image.grid, "PT", "SUV"), "PET", modality="PET", unit="SUV")
    check_image(Image(image.array, image.grid, "MR"), "T1", modality="MRI")


@pytest.mark.real_data
@pytest.mark.parametrize(
    "parts",
    [
        ("lung", "LUNG1-001", "ct_small_2x2x3.nii.gz"),
        ("lung", "LUNG1-001", "ct_tumour_crop.nii.gz"),
        ("lung", "lung1", "lung1_image.nrrd"),
        ("lung", "normal_thorax", "ct.nii.gz"),
        ("lung", "phantom_pat2", "ct.nii.gz"),
        ("lung", "phantom_pat3", "ct.nii.gz"),
        ("petct", "STS_002", "CT_image.nii.gz"),
        ("petct", "STS_019", "CT_image.nii.gz"),
        ("dicom", "ct_phantom", "image"),
    ],
)
def test_real_ct_passes(parts):
    check_image(read_image(real_file(*parts)), "CT", modality="CT", unit="HU")


@pytest.mark.real_data
@pytest.mark.parametrize(
    "parts",
    [
        ("petct", "STS_002", "MR_T1_image.nii.gz"),
        ("petct", "STS_002", "PET_image.nii.gz"),
        ("brain", "TCGA-FG-6692", "t1.nii.gz"),
        ("brain", "brats_2013_pat0001_1", "T1c_subtrMeanDivStd.nii.gz"),
        ("lung", "LUNG1-001", "labels_small_2x2x3.nii.gz"),
    ],
)
def test_real_image_that_is_no_ct_is_refused(parts):
    with pytest.raises(InputError, match="not in Hounsfield units"):
        check_image(read_image(real_file(*parts)), "CT", modality="CT", unit="HU")


@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        ((7e-4, 7e-4, 3e-3), r"voxels of 0\.0007 x 0\.0007 x 0\.003 mm"),
        ((700, 700, 3000), r"9800 x 8400 x 30000 mm large"),
        ((0.7, 0.7, 900), r"9\.8 x 8\.4 x 9000 mm large"),
    ],
)
def test_a_geometry_that_is_not_in_millimetres(spacing, words):
    image = ct()
    wrong = image.with_array(image.array, Grid(image.grid.size, spacing))
    assert refused(wrong, words).code == "geometry"
    check_image(image.with_array(image.array, Grid(image.grid.size, (0.05, 0.05, 300))), "CT")


def test_hounsfield_units_that_the_type_cannot_hold():
    refused(ct(scale=0.1, dtype=np.int8), "values of type int8, which cannot hold Hounsfield units")
