"""The preprocessing steps of grid and intensity: hand examples, and everything of a case moves together."""

from __future__ import annotations

import numpy as np
import pytest
import SegDLEngine.preprocessing.grid as grid_steps
import SegDLEngine.preprocessing.intensity as intensity_steps
from realdata import real_file
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.preprocessing.registry import PreparedCase, check_steps, known_steps

GRID = Grid((8, 6, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))


def case_of(array, grid=GRID, **parts) -> PreparedCase:
    return PreparedCase({"CT": Image(np.asarray(array), grid, "CT", "HU")}, "CT", **parts)


@pytest.fixture
def full_case() -> PreparedCase:
    """CT with a label and a mask at its brightest block, and a PET on a coarser, shifted grid."""
    ct = np.full(GRID.shape, -900, np.int16)
    ct[1:3, 2:4, 3:6] = 50
    block = Image((ct > 0).astype(np.uint8), GRID)
    pet_grid = Grid((5, 5, 5), (2.0, 2.0, 3.0), (-0.5, -0.5, -3.0))
    pet = Image(np.full(pet_grid.shape, 2.5, np.float32), pet_grid, "PT", "SUV")
    images = {"CT": Image(ct, GRID, "CT", "HU"), "PET": pet}
    return PreparedCase(images, "CT", labels=block, masks={"body": block.with_array(block.array > 0)})


def values(case: PreparedCase, name: str = "CT") -> list:
    return case.images[name].array.ravel().tolist()


def test_all_steps_are_registered():
    expected = {"canonical", "to_reference", "resample_in_plane", "crop_pad", "crop_to_mask"}
    expected |= {"window", "clip", "harmonise", "scale", "zscore"}
    assert expected <= set(known_steps())
    check_steps([{"step": "canonical", "spacing": [1, 1, 3], "outside": -1000}, {"step": "harmonise"}])
    with pytest.raises(ModelError, match="'canonical'"):
        check_steps([{"step": "canonical", "spacings": [1, 1, 3]}])


@pytest.mark.parametrize(
    "entry",
    [
        {"step": "zscore", "inputs": ["CT", "PTE"]},
        {"step": "mask_between", "name": "fat", "input": "PTE"},
        {"step": "canonical", "spacing": [1, 1, 3], "outside": {"CT": -1000, "PTE": 0}},
        {"step": "crop_pad", "size": [4, 4], "fill": {"PTE": 0}},
        {"step": "mask_outside", "mask": "fat", "value": {"PTE": 0}},
    ],
)
def test_a_misspelt_input_is_named(entry):
    """Otherwise the step would pass the image by, without a word."""
    with pytest.raises(ModelError, match=f"step 1 '{entry['step']}': .* no input 'PTE'.*CT, PET"):
        check_steps([entry], ["CT", "PET"])
    check_steps([entry], ["CT", "PTE"])


def test_canonical_moves_everything_to_one_lattice(full_case):
    result = grid_steps.canonical(full_case, spacing=[0.5, 0.5, 1.5], outside={"CT": -1000, "PET": 0})
    grid = result.grid
    assert grid.spacing == (0.5, 0.5, 1.5)
    for image in (*result.images.values(), result.labels, *result.masks.values()):
        assert image.grid == grid
    assert result.images["CT"].array.dtype == np.int16
    assert result.masks["body"].array.dtype == bool
    centre = np.rint(grid.to_index([[4, 2.5, 4.5]])[0]).astype(int)[::-1]
    assert result.images["CT"].array[tuple(centre)] == 50
    assert result.labels.array[tuple(centre)] == 1
    volume = result.labels.array.sum() * grid.voxel_ml
    assert volume == pytest.approx(full_case.labels.array.sum() * GRID.voxel_ml, rel=0.35)
    inside = result.images["PET"].array[4:-4, 4:-4, 4:-4]
    assert np.allclose(inside, 2.5)


def test_to_reference_resamples_only_the_others(full_case):
    result = grid_steps.to_reference(full_case, outside=-1)
    assert result.images["CT"].array is full_case.images["CT"].array
    assert result.images["PET"].grid == GRID
    assert np.allclose(result.images["PET"].array, 2.5)


def test_resample_in_plane_keeps_slices_and_edges():
    case = case_of(np.arange(4 * 6 * 8).reshape(4, 6, 8).astype(np.float32))
    result = grid_steps.resample_in_plane(case, spacing=0.5, interpolation="nearest")
    assert result.grid.size == (16, 12, 4)
    assert result.grid.spacing == (0.5, 0.5, 3)
    assert result.grid.corners() == pytest.approx(GRID.corners())
    assert np.array_equal(result.images["CT"].array, case.images["CT"].array.repeat(2, 1).repeat(2, 2))
    coarse = grid_steps.resample_in_plane(result, spacing=[2, 1])
    assert coarse.grid.size == (4, 6, 4)
    assert coarse.images["CT"].array[0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]


def test_resample_in_plane_follows_oblique_axes():
    turned = Grid((8, 6, 4), (1, 1, 3), (5, -7, 9), (0, 0, 1, 1, 0, 0, 0, 1, 0))
    result = grid_steps.resample_in_plane(case_of(np.zeros(turned.shape, np.int16), turned), spacing=0.5)
    assert result.grid.corners() == pytest.approx(turned.corners())


def test_crop_pad_round_the_centre(full_case):
    case = grid_steps.to_reference(full_case)
    result = grid_steps.crop_pad(case, size=[4, 10], fill={"CT": -1000, "PET": 0})
    assert result.grid.size == (4, 10, 4)
    assert result.grid.origin == (2, -2, 0)
    ct = result.images["CT"].array
    assert (ct[:, :2] == -1000).all() and (ct[:, 8:] == -1000).all()
    assert np.array_equal(ct[:, 2:8], case.images["CT"].array[:, :, 2:6])
    assert result.labels.array[:, 2:8].sum() == case.labels.array[:, :, 2:6].sum()
    assert (result.labels.array[:, :2] == 0).all()


def test_crop_needs_one_grid(full_case):
    with pytest.raises(ModelError, match="'PET' is not on the grid of 'CT'"):
        grid_steps.crop_pad(full_case, size=[4, 4])


def test_crop_to_mask_moves_everything(full_case):
    case = grid_steps.to_reference(full_case)
    result = grid_steps.crop_to_mask(case, mask="body", margin_mm=1)
    assert result.grid.size == (5, 4, 4)
    assert result.grid.origin == (2, 1, 0)
    assert result.labels.array.sum() == case.labels.array.sum()
    assert (result.images["CT"].array == 50).sum() == 12
    assert result.masks["body"].grid == result.images["PET"].grid == result.grid
    assert not case.reporter.warnings


@pytest.mark.parametrize(("mask", "reason"), [("lungs", "is missing"), ("empty", "is empty")])
def test_crop_to_mask_without_a_mask_keeps_all(full_case, mask, reason):
    nothing = full_case.labels.with_array(np.zeros(GRID.shape, np.uint8))
    case = full_case.with_mask("empty", nothing)
    assert grid_steps.crop_to_mask(case, mask=mask, margin_mm=5) is case
    assert [event["code"] for event in case.reporter.warnings] == ["empty-mask"]
    assert reason in case.reporter.warnings[0]["text"]


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("canonical", {"spacing": [1, 1]}),
        ("canonical", {"spacing": [1, 0, 1]}),
        ("resample_in_plane", {"spacing": -1}),
        ("resample_in_plane", {"spacing": 1, "interpolation": "sinc"}),
        ("crop_pad", {"size": [4]}),
        ("window", {"low": 5, "high": 5}),
        ("clip", {"low": 5, "high": 1}),
        ("harmonise", {"bin": 0}),
    ],
)
def test_impossible_constants_name_the_step(full_case, name, constants):
    with pytest.raises(ModelError, match=f"Step '{name}'"):
        known_steps()[name](full_case, **constants)


LINE = Grid((8, 1, 1))


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_harmonise_by_hand(dtype):
    levels = [-3024, -1000, -976, -975, -951, 124, 125, 3000]
    result = intensity_steps.harmonise(case_of(np.array(levels, dtype).reshape(1, 1, 8), LINE))
    assert values(result) == [0, 0, 0, 1, 1, 44, 45, 45]
    assert result.images["CT"].array.dtype == np.uint8


def test_harmonise_has_46_levels_with_exact_borders():
    hounsfield = np.arange(-1100, 300, dtype=np.int16)
    grid = Grid((hounsfield.size, 1, 1))
    result = values(intensity_steps.harmonise(case_of(hounsfield.reshape(1, 1, -1), grid)))
    expected = [min((min(max(int(v), -1000), 150) + 1000) // 25, 45) for v in hounsfield]
    assert result == expected
    assert sorted(set(result)) == list(range(46))


def test_harmonise_of_unsigned_and_of_fine_bins():
    case = case_of(np.array([0, 1, 100, 149, 150, 151, 200, 255], np.uint8).reshape(1, 1, 8), LINE)
    assert values(intensity_steps.harmonise(case)) == [40, 40, 44, 45, 45, 45, 45, 45]
    fine = intensity_steps.harmonise(case, low=0, high=200, bin=0.5)
    assert fine.images["CT"].array.dtype == np.uint16
    assert values(fine) == [0, 2, 200, 298, 300, 302, 399, 399]


def test_window_clip_scale_by_hand():
    case = case_of(np.array([-2000, -1000, -750, -500, 0, 1, 500, 3000], np.int16).reshape(1, 1, 8), LINE)
    windowed = intensity_steps.window(case, low=-1000, high=0)
    assert values(windowed) == pytest.approx([0, 0, 0.25, 0.5, 1, 1, 1, 1])
    assert windowed.images["CT"].array.dtype == np.float32
    clipped = intensity_steps.clip(case, low=-800, high=0)
    assert clipped.images["CT"].array.dtype == np.int16
    assert values(clipped) == [-800, -800, -750, -500, 0, 0, 0, 0]
    assert values(intensity_steps.clip(case, low=-0.5, high=0.5))[3:6] == [-0.5, 0, 0.5]
    assert values(intensity_steps.scale(case, offset=1000, factor=0.5))[:3] == [-500, 0, 125]
    assert values(case)[0] == -2000


def test_zscore_whole_and_masked():
    numbers = np.array([1, 2, 3, 4, 5, 6, 7, 100], np.float32).reshape(1, 1, 8)
    mask = Image((numbers < 50).astype(np.uint8), LINE)
    case = case_of(numbers, LINE, masks={"brain": mask})
    whole = intensity_steps.zscore(case).images["CT"].array
    assert whole.mean() == pytest.approx(0, abs=1e-6) and whole.std() == pytest.approx(1, rel=1e-6)
    inside = values(intensity_steps.zscore(case, mask="brain"))
    assert inside[:7] == pytest.approx(((np.arange(1, 8) - 4) / 2).tolist())
    assert values(intensity_steps.zscore(case_of(np.full((1, 1, 8), 7, np.int16), LINE))) == [0] * 8


def test_only_the_named_inputs_change(full_case):
    result = intensity_steps.scale(full_case, factor=2, inputs=["PET"])
    assert result.images["CT"] is full_case.images["CT"]
    assert (result.images["PET"].array == 5).all()


@pytest.mark.real_data
def test_canonical_and_back_on_a_real_tumour():
    folder = real_file("lung", "LUNG1-001")
    ct, labels = (
        read_image(folder / "ct_tumour_crop.nii.gz"),
        read_labels(folder / "labels_tumour_crop.nii.gz"),
    )
    tumour = labels.with_array((labels.array == 3).astype(np.uint8))
    case = PreparedCase({"CT": ct}, "CT", labels=tumour)
    moved = grid_steps.canonical(case, spacing=[1.0, 1.0, 1.5], outside=-1000)
    back = grid_steps.to_grid(moved, ct.grid, -1000)
    both = np.count_nonzero(back.labels.array & tumour.array)
    assert 2 * both / (back.labels.array.sum() + tumour.array.sum()) > 0.97
    assert moved.labels.array.sum() * moved.grid.voxel_ml == pytest.approx(
        tumour.array.sum() * ct.grid.voxel_ml, rel=0.02
    )


@pytest.mark.parametrize(
    ("name", "constants"),
    [("zscore", {}), ("histogram_equalise", {}), ("mask_outside", {"value": 0})],
)
def test_a_mask_on_another_grid_than_an_input_is_a_fault_of_the_card(full_case, name, constants):
    """The PET of the case has its own grid, the mask lies on that of the CT."""
    with pytest.raises(ModelError, match=f"Step '{name}': .*'PET'.* not on the grid of the mask 'body'"):
        known_steps()[name](full_case, mask="body", inputs=["PET"], **constants)
