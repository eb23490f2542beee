"""Boxes round a region or a centre of mass: where they lie, what pads them, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from realdata import real_file
from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.resampling import resample
from SegDLEngine.preprocessing.registry import PreparedCase
from step_cases import apply, ball, codes, dice, restored


def pet_ct(region=None) -> PreparedCase:
    """CT and PET on different grids, each with the physical x coordinate as value."""
    ct_grid = Grid((40, 40, 20), (1.5, 1.5, 3.0), (-30.0, -30.0, -30.0))
    pet_grid = Grid((16, 16, 16), (4.0, 4.0, 4.0), (-30.0, -30.0, -30.0))
    images = {}
    for name, grid, unit in (("CT", ct_grid, "HU"), ("PET", pet_grid, "SUV")):
        x = grid.origin[0] + grid.spacing[0] * np.arange(grid.size[0])
        array = np.broadcast_to(x, grid.shape).astype(np.float32).copy()
        images[name] = Image(array, grid, name, unit)
    return PreparedCase(images, "CT", labels=ball(ct_grid, (4, -6, 2), 9), region=region)


def test_box_is_where_the_region_is():
    # RAS: x of LPS from -12 to 8, y from -14 to 10, z from -6 to 9.
    case = apply(pet_ct((-8, 12, -10, 14, -6, 9)), ("resample_to_box", {"size": [16, 32, 15]}))
    grid = case.grid
    assert grid.size == (20, 32, 15) and grid.spacing == (1, 1, 1)
    assert grid.corners().min(axis=0) == pytest.approx([-12, -18, -6])
    assert grid.corners().max(axis=0) == pytest.approx([8, 14, 9])
    x = grid.origin[0] + np.arange(20)
    for name in ("CT", "PET"):
        assert case.images[name].grid == grid
        assert case.images[name].array == pytest.approx(np.broadcast_to(x, grid.shape), abs=1e-4)
    assert dice(case.labels.array, ball(grid, (4, -6, 2), 9).array) > 0.9


def test_box_of_the_report_has_144_voxels_and_pads():
    case = pet_ct((-8, 12, -10, 14, -6, 9))
    case = apply(case, ("resample_to_box", {"outside": {"CT": -1024, "PET": 0}}))
    assert case.grid.size == (144, 144, 144)
    assert case.grid.corners().mean(axis=0) == pytest.approx([-2, -2, 1.5])
    assert case.images["CT"].array[0, 0, 0] == -1024 and case.images["PET"].array[0, 0, 0] == 0


def test_box_without_a_region_is_the_whole_volume():
    case = pet_ct()
    whole = apply(case, ("resample_to_box", {"spacing": [2, 2, 2]}))
    assert whole.grid.spacing == (2, 2, 2)
    before, after = case.grid.corners(), whole.grid.corners()
    margins = np.stack([before.min(axis=0) - after.min(axis=0), after.max(axis=0) - before.max(axis=0)])
    assert margins.min() >= -0.01 and margins.max() < 2
    assert whole.images["PET"].grid == whole.grid


def test_box_outside_of_the_image_is_refused():
    with pytest.raises(InputError, match="outside of the input 'CT'"):
        apply(pet_ct((500, 600, 0, 10, 0, 10)), ("resample_to_box", {}))


def test_sphere_through_the_box_and_back():
    grid = Grid((60, 60, 24), (0.98, 0.98, 3.27), (-29.0, -29.0, -40.0))
    truth = ball(grid, (1, 2, -3), 20)
    case = PreparedCase({"CT": truth}, "CT", labels=truth, region=(-30, 30, -30, 30, -35, 35))
    prepared = apply(case, ("resample_to_box", {}))
    back = resample(prepared.labels, grid, interpolation="nearest")
    assert prepared.grid.size == (144, 144, 144)
    assert dice(back.array, truth.array) >= 0.97
    assert dice(restored(prepared.labels, grid), truth.array) >= 0.97


def brain(size=(200, 210, 155), low=(60, 70, 40), high=(121, 141, 101)) -> PreparedCase:
    """Flair with one block above 0, whose corner voxels are ``low`` and ``high`` - 1, and a label in it."""
    flair = np.zeros(size[::-1], np.int16)
    flair[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = 100
    grid = Grid(size, (1.0, 1.0, 1.0), (-100.0, -120.0, 30.0))
    images = {name: Image(flair, grid, "MR") for name in ("FLAIR", "T1")}
    return PreparedCase(images, "FLAIR", labels=Image((flair > 0).astype(np.uint8), grid))


def test_crop_round_the_centre_of_mass_by_hand():
    case = brain()
    # The block is centred at voxel (90, 105, 70).
    result = apply(case, ("crop_center_of_mass", {}))
    assert result.grid.size == (144, 160, 128)
    assert case.grid.to_index([result.grid.origin])[0] == pytest.approx([90 - 72, 105 - 84, 70 - 64])
    assert result.labels.array.sum() == case.labels.array.sum()
    for name in ("FLAIR", "T1"):
        assert np.array_equal(result.images[name].array, case.images[name].array[6:134, 21:181, 18:162])


@pytest.mark.parametrize(
    ("low", "high", "start"),
    [((0, 0, 0), (11, 11, 11), (0, 0, 0)), ((180, 190, 140), (200, 210, 155), (56, 50, 27))],
)
def test_box_is_shifted_into_the_volume(low, high, start):
    case = brain(low=low, high=high)
    result = apply(case, ("crop_center_of_mass", {}))
    assert case.grid.to_index([result.grid.origin])[0] == pytest.approx(start)


def test_small_volume_is_padded_all_round():
    case = brain(size=(100, 170, 60), low=(10, 80, 10), high=(21, 91, 21))
    result = apply(case, ("crop_center_of_mass", {"fill": -5}))
    assert result.grid.size == (144, 160, 128)
    assert case.grid.to_index([result.grid.origin])[0] == pytest.approx([-22, 1, -34])
    flair = result.images["FLAIR"].array
    assert np.array_equal(flair[34:94, :, 22:122], case.images["FLAIR"].array[:, 1:161])
    assert (flair[:34] == -5).all() and (flair[:, :, 122:] == -5).all()
    assert result.labels.array.sum() == case.labels.array.sum()


def test_centre_of_mass_of_another_input_and_of_none():
    case = brain()
    shifted = case.images["T1"].with_array(np.roll(case.images["T1"].array, 20, axis=2))
    case = case.with_images({**case.images, "T1": shifted})
    result = apply(case, ("crop_center_of_mass", {"input": "T1"}))
    assert case.grid.to_index([result.grid.origin])[0][0] == pytest.approx(110 - 72)
    empty = case.with_images({"FLAIR": shifted.with_array(np.zeros_like(shifted.array))})
    middle = apply(empty, ("crop_center_of_mass", {"size": [20, 20, 20], "before": [10, 10, 10]}))
    assert case.grid.to_index([middle.grid.origin])[0] == pytest.approx([90, 95, 67])
    assert codes(empty) == ["empty-image"]
    with pytest.raises(ModelError, match="no input 'T2'"):
        apply(case, ("crop_center_of_mass", {"input": "T2"}))


@pytest.mark.real_data
def test_real_pet_ct_in_one_box_and_back():
    folder = real_file("petct", "STS_003")
    ct = read_image(folder / "CT_image.nii.gz", modality="CT", unit="HU")
    pet = read_image(folder / "PET_image.nii.gz", modality="PET", unit="SUV")
    tumour, hot = read_labels(folder / "CT_mask.nii.gz"), read_labels(folder / "PET_mask.nii.gz")
    index = np.argwhere(tumour.array != 0).mean(axis=0)[::-1]
    x, y, z = ct.grid.to_physical(index[None])[0]
    region = (-x - 72, -x + 72, -y - 72, -y + 72, z - 72, z + 72)
    case = PreparedCase({"CT": ct, "PET": pet}, "CT", labels=tumour, masks={"hot": hot}, region=region)
    prepared = apply(
        case,
        ("resample_to_box", {"outside": {"CT": -1024, "PET": 0}}),
        ("clip", {"low": -1024, "high": 1024, "inputs": ["CT"]}),
        ("scale", {"factor": 1 / 1024, "inputs": ["CT"]}),
        ("zscore", {"epsilon": 1e-3, "inputs": ["PET"]}),
    )
    assert prepared.channels(["CT", "PET"]).shape == (2, 144, 144, 144)
    assert prepared.grid.corners().mean(axis=0) == pytest.approx([x, y, z])
    scored = prepared.images["PET"].array
    assert abs(scored.mean()) < 1e-3 and scored.std() == pytest.approx(1, abs=0.01)
    hottest = prepared.masks["hot"].array != 0
    assert scored[hottest].mean() > 3 * abs(scored[~hottest].mean())
    assert dice(prepared.labels.array, prepared.masks["hot"].array) > 0.8
    inside = np.zeros(ct.grid.shape, bool)
    corners = np.rint(ct.grid.to_index(prepared.grid.corners())).clip(0).astype(int)
    (i, j, k), (ii, jj, kk) = corners.min(axis=0) + 2, corners.max(axis=0) - 2
    inside[k:kk, j:jj, i:ii] = True
    assert dice(restored(prepared.labels, ct.grid) * inside, tumour.array * inside) > 0.95


@pytest.mark.real_data
def test_real_brain_box_holds_the_whole_brain_and_tumour():
    folder = real_file("brain", "TCGA-FG-6692")
    flair = read_image(folder / "fla.nii.gz", modality="MR")
    labels = read_labels(folder / "seg_fusion_mav.nii.gz")
    case = PreparedCase({"FLAIR": flair}, "FLAIR", labels=labels)
    box = apply(case, ("canonical", {"spacing": [1, 1, 1]}), ("crop_center_of_mass", {}), ("zscore", {}))
    assert box.grid.size == (144, 160, 128)
    assert (
        np.bincount(box.labels.array.ravel())[1:].tolist() == np.bincount(labels.array.ravel())[1:].tolist()
    )
    back = resample(box.labels, flair.grid, interpolation="nearest")
    assert np.array_equal(back.array, labels.array)
    small = apply(box, ("resize", {"size": [36, 40, 32]}))
    assert small.grid.corners() == pytest.approx(box.grid.corners())
