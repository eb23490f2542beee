"""The generated PET/CT: reproducible, plausible in both images, tumours where the labels say."""

import numpy as np
import pytest
from SegDLEngine.images.resampling import resample
from SegDLTrainingLib.synthesis.petct import make_case

SMALL = {"extent_mm": [110, 120], "spacing_mm": 3.0, "tumour_free_share": 0.0}
REGIONS = ("limb", "trunk", "head and neck")


def only(region: str, **changes) -> dict:
    return {**SMALL, "regions": {region: 1.0}, **changes}


@pytest.fixture(scope="module")
def cases():
    return [make_case(seed, only(region)) for region in REGIONS for seed in range(2)]


@pytest.mark.parametrize("number", range(len(REGIONS)))
def test_same_seed_same_voxels(cases, number):
    one, other, again = cases[2 * number], cases[2 * number + 1], make_case(0, only(REGIONS[number]))
    for name in ("CT", "PET"):
        assert np.array_equal(one.images[name].array, again.images[name].array)
        assert one.images[name].grid == again.images[name].grid
        assert not np.array_equal(one.images[name].array, other.images[name].array)
    assert np.array_equal(one.labels.array, again.labels.array)


def test_both_images_cover_the_same_place_on_different_grids(cases):
    for case in cases:
        ct, pet = case.images["CT"], case.images["PET"]
        assert case.reference == "CT"
        assert (ct.modality, ct.unit, pet.modality, pet.unit) == ("CT", "HU", "PT", "SUV")
        assert case.labels.grid == ct.grid
        assert pet.grid.spacing[0] > ct.grid.spacing[0]
        apart = np.abs(ct.grid.corners() - pet.grid.corners()).max()
        assert apart < 12, "mm between the corners of the two"


def test_ct_holds_air_fat_muscle_and_bone(cases):
    for case in cases:
        ct = case.images["CT"].array
        assert ct.dtype == np.int16
        assert ct.min() >= -1000 and ct.max() <= 3071
        inside = ct[ct > -300]
        assert inside.size > 0.05 * ct.size
        assert np.mean((inside > -160) & (inside < 130)) > 0.6, "fat and muscle"
        assert np.mean(ct < -800) > 0.02, "air"
        assert np.mean(ct > 300) > 0.0005, "bone"


def test_pet_is_quiet_outside_of_tumours_and_organs(cases):
    for case in cases:
        pet = case.images["PET"].array
        assert pet.dtype == np.float32
        assert np.isfinite(pet).all() and pet.min() >= 0
    case = make_case(1, only("limb", tumour_free_share=1.0))
    assert not case.labels.array.any()
    ct = resample(case.images["CT"], case.images["PET"].grid, outside=-1000).array
    muscle = (ct > 20) & (ct < 100)
    assert 0.25 < np.median(case.images["PET"].array[muscle]) < 1.5, "SUV at rest"


def test_tumours_are_soft_tissue_with_raised_uptake(cases):
    peaks, sizes = [], []
    for case in cases:
        tumour = case.labels.array > 0
        if not tumour.any():
            continue
        ct, pet = case.images["CT"], resample(case.images["PET"], case.images["CT"].grid)
        assert -120 < np.median(ct.array[tumour]) < 200
        assert case.labels.array.max() == 1
        peaks.append(float(pet.array[tumour].max()))
        sizes.append(tumour.sum() * ct.grid.voxel_ml)
    assert len(peaks) == len(cases)
    assert min(peaks) > 1.2 and max(peaks) > 5
    assert min(sizes) > 0.3 and max(sizes) > 3 * min(sizes)


def test_the_brain_takes_up_most():
    case = make_case(1, only("head and neck", extent_mm=[180, 190], tumour_free_share=1.0))
    ct = resample(case.images["CT"], case.images["PET"].grid, outside=-1000).array
    pet = case.images["PET"].array
    assert pet[ct > -200].max() > 4
    assert np.median(pet[(ct > -150) & (ct < 80)]) < 2
