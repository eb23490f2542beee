"""The mask of skull-stripped images: background of any value, inputs on other grids, images with a skull."""

import numpy as np
import pytest
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps

STEPS = [{"step": "foreground_mask"}]


def brain(grid=None, background=0.0, box=(slice(3, 9),) * 3):
    grid = grid or Grid((12, 12, 12), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    array = np.full(grid.shape, background, np.float32)
    array[box] = np.random.default_rng(0).normal(50, 5, size=array[box].shape)
    return Image(array, grid, modality="MR")


@pytest.mark.parametrize("background", [0.0, -3.62, 1000.0])
def test_the_background_may_have_any_value(background):
    case = run_steps(PreparedCase({"FLAIR": brain(background=background)}, "FLAIR"), STEPS)
    mask = case.masks["brain"].array
    assert mask.sum() == 6**3 and mask[3:9, 3:9, 3:9].all()


def test_a_background_that_is_even_but_for_smoothing_counts_as_one():
    image = brain()
    tails = image.array + np.random.default_rng(1).normal(0, 1e-6, image.array.shape).astype(np.float32)
    case = run_steps(PreparedCase({"FLAIR": image.with_array(tails)}, "FLAIR"), STEPS)
    assert case.masks["brain"].array.sum() == 6**3


def test_the_mask_joins_the_inputs_on_the_reference_grid():
    other = Grid((24, 24, 24), (1.0, 1.0, 1.0), (-0.5, -0.5, -0.5))
    images = {"FLAIR": brain(), "T1c": brain(other, -1.0, (slice(6, 22), slice(6, 18), slice(6, 18)))}
    mask = run_steps(PreparedCase(images, "FLAIR"), STEPS).masks["brain"]
    assert mask.grid.matches(images["FLAIR"].grid)
    assert mask.array.sum() == 8 * 6 * 6


def test_an_image_with_skull_and_noise_is_foreground_as_a_whole_with_a_warning():
    image = brain(box=(slice(None),) * 3)
    case = run_steps(PreparedCase({"FLAIR": image}, "FLAIR"), STEPS)
    assert case.masks["brain"].array.all()
    assert [warning["code"] for warning in case.reporter.warnings] == ["not-skull-stripped"]


def test_scores_are_taken_inside_the_mask_alone():
    steps = [*STEPS, {"step": "zscore", "mask": "brain", "outside": 0}]
    values = run_steps(PreparedCase({"FLAIR": brain(background=500.0)}, "FLAIR"), steps).images["FLAIR"].array
    inside = values[3:9, 3:9, 3:9]
    assert abs(inside.mean()) < 1e-5 and abs(inside.std() - 1) < 1e-5
    values[3:9, 3:9, 3:9] = 0
    assert not values.any()
