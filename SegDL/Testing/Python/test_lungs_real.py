"""The isolation on real CT: whole thoraxes, cropped fields of view, single slices."""

import numpy as np
import pytest
from realdata import real_file
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.resampling import canonical_grid, resample
from SegDLEngine.preprocessing.lungs.agreement import agreement
from SegDLEngine.preprocessing.lungs.isolation import isolate_lungs

pytestmark = pytest.mark.real_data


def isolate(*parts):
    image = read_image(real_file(*parts), modality="CT", unit="HU")
    return image, isolate_lungs(image)


def share_inside(isolation, labels):
    inside = isolation.mask.array[labels] > 0
    return np.count_nonzero(inside) / inside.size


def sealed(isolation):
    """What every region must be: no couch, no airway, inside the body, around its lungs."""
    region = isolation.mask.array > 0
    assert not (region & (isolation.couch.array > 0)).any()
    assert not (region & (isolation.airways.array > 0)).any()
    assert not (region & (isolation.body.array == 0)).any()
    assert not ((isolation.lungs.array > 0) & ~region).any()


@pytest.fixture(scope="module")
def nsclc():
    _, isolation = isolate("lung", "LUNG1-001", "ct.nii.gz")
    return isolation, read_labels(real_file("lung", "LUNG1-001", "labels.nii.gz"))


def test_lungs_and_a_large_tumour_are_covered(nsclc):
    isolation, labels = nsclc
    lungs = agreement(isolation, labels, [1, 2])
    whole = agreement(isolation, labels, [1, 2, 3])
    assert whole["coverage_after"] >= 0.999
    assert whole["coverage_by_value"]["3"] >= 0.999
    assert lungs["dice_before"] >= 0.97
    assert whole["dice_before"] >= 0.955
    assert whole["dice_after"] >= 0.75
    sealed(isolation)


def test_the_couch_is_found_under_the_whole_patient(nsclc):
    isolation, labels = nsclc
    couch = isolation.couch.array > 0
    assert couch.any(axis=(1, 2)).mean() > 0.95
    assert not (couch & (labels.array > 0)).any()
    # The head rest behind the neck is part of the couch and lies higher.
    assert np.flatnonzero(couch[:105].any(axis=(0, 2)))[0] > 380


def test_the_spine_axis_follows_the_spinal_canal(nsclc):
    isolation, labels = nsclc
    axis = isolation.spine_axis
    differences = []
    for t, column in enumerate(axis.smoothed):
        cord = np.flatnonzero((labels.array[axis.first + t] == 4).any(axis=0))
        if cord.size:
            differences.append((column - cord.mean()) * labels.grid.spacing[0])
    assert len(differences) > 60
    assert abs(np.mean(differences)) < 2
    assert np.max(np.abs(differences)) < 12


def test_the_trachea_is_followed_down_to_its_branches(nsclc):
    isolation, labels = nsclc
    areas = isolation.airways.array.sum(axis=(1, 2)) * np.prod(labels.grid.spacing[:2])
    assert (areas[88:118] > 40).all()


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 3.0), (2.0, 2.0, 2.0)])
def test_the_canonical_grid_gives_the_same_coverage(spacing):
    image = read_image(real_file("lung", "LUNG1-001", "ct.nii.gz"), modality="CT", unit="HU")
    labels = read_labels(real_file("lung", "LUNG1-001", "labels.nii.gz"))
    grid = canonical_grid(image.grid, spacing)
    isolation = isolate_lungs(resample(image, grid, outside=-1000))
    labels = resample(labels, grid, interpolation="nearest", outside=0)
    found = agreement(isolation, labels, [1, 2, 3])
    assert found["coverage_after"] >= 0.999
    assert found["dice_before"] >= 0.95


@pytest.mark.parametrize(
    ("case", "image", "tumour", "litres"),
    [
        ("lung1", "lung1_image.nrrd", "lung1_label.nrrd", (2.5, 3.3)),
        ("phantom_pat2", "ct.nii.gz", "gtv.nii.gz", (0.8, 1.1)),
        ("phantom_pat3", "ct.nii.gz", "gtv.nii.gz", (0.6, 0.85)),
    ],
)
def test_tumours_of_other_scans_lie_inside(case, image, tumour, litres):
    _, isolation = isolate("lung", case, image)
    labels = read_labels(real_file("lung", case, tumour)).array > 0
    assert share_inside(isolation, labels) >= 0.99
    assert litres[0] <= isolation.report["lungs_ml"] / 1000 <= litres[1]
    assert isolation.report["lungs_cut_by_field_of_view"] == case.startswith("phantom")
    sealed(isolation)


def test_a_box_around_the_tumour_is_still_lung():
    _, isolation = isolate("lung", "LUNG1-001", "ct_tumour_crop.nii.gz")
    labels = read_labels(real_file("lung", "LUNG1-001", "labels_tumour_crop.nii.gz")).array
    assert share_inside(isolation, labels == 3) >= 0.99
    assert share_inside(isolation, (labels > 0) & (labels < 4)) >= 0.98


def test_a_normal_thorax_with_contrast_has_two_lungs_a_couch_and_a_straight_spine():
    image, isolation = isolate("lung", "normal_thorax", "ct.nii.gz")
    assert 3.7 <= isolation.report["lungs_ml"] / 1000 <= 4.5
    assert isolation.report["couch_found"]
    assert np.ptp(isolation.spine_axis.smoothed) * image.grid.spacing[0] < 20
    sealed(isolation)


@pytest.mark.parametrize(
    "name",
    [
        "A002304_19010112-135",
        "A046441_19001111-045",
        "A046441_19010101-23",
        "A056642_19001229-053",
        "A098752_19010127-128",
    ],
)
def test_single_slices_with_consolidated_lungs_have_a_region_inside_the_chest(name):
    image, isolation = isolate("covid", f"{name}.dcm")
    assert isolation.report["warnings"] == []
    pixel_cm2 = image.grid.spacing[0] * image.grid.spacing[1] / 100
    assert np.count_nonzero(isolation.mask.array) * pixel_cm2 > 150
    assert isolation.report["couch_found"]
    sealed(isolation)


@pytest.mark.parametrize("case", ["STS_002", "STS_003", "STS_019"])
def test_a_thigh_has_no_lungs(case):
    _, isolation = isolate("petct", case, "CT_image.nii.gz")
    assert [item["code"] for item in isolation.report["warnings"]] == ["no_lungs"]
    assert not isolation.mask.array.any()
