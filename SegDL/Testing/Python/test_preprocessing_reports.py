"""Intensities as reports 000, 003 and 004 prepare them, by hand examples; constants that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.images.checks import check_image
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, known_steps
from step_cases import apply, codes, image, line, values


def test_ct_of_the_report_by_hand():
    ct = apply(
        line(-5000, 0, 512, 1024, 3000, dtype=np.int16),
        ("clip", {"low": -1024, "high": 1024}),
        ("scale", {"factor": 1 / 1024}),
    )
    assert values(ct) == [-1, 0, 0.5, 1, 1]


def test_pet_of_the_report_by_hand():
    pet = apply(line(1, 2, 3, 2), ("zscore", {"epsilon": 1e-3}))
    deviation = np.sqrt(0.5)
    assert values(pet) == pytest.approx((np.array([-1, 0, 1, 0]) / (deviation + 1e-3)).tolist())
    assert np.std(values(pet)) == pytest.approx(deviation / (deviation + 1e-3))
    assert values(apply(line(7, 7, 7), ("zscore", {"epsilon": 1e-3}))) == [0, 0, 0]


def test_divide_by_maximum_by_hand():
    first, second = [[[1, 2], [4, 0]], [[0, 5], [10, 5]]], [[[0, 0], [0, 0]], [[-2, -1], [-4, -8]]]
    case = PreparedCase({"T1": image(np.int16(first)), "T2": image(np.int16(second))}, "T1")
    result = apply(case, ("divide_by_maximum", {}))
    assert values(result, "T1") == pytest.approx([0.1, 0.2, 0.4, 0, 0, 0.5, 1, 0.5])
    assert values(result, "T2") == [0, 0, 0, 0, -2, -1, -4, -8]
    assert result.images["T1"].array.dtype == np.float32
    slices = apply(case, ("divide_by_maximum", {"per_slice": True, "inputs": ["T1"]}))
    assert values(slices, "T1") == pytest.approx([0.25, 0.5, 1, 0, 0, 0.5, 1, 0.5])
    assert slices.images["T2"] is case.images["T2"]


@pytest.mark.parametrize(
    ("step", "constants"),
    [
        ("resize", {"size": [4, 4]}),
        ("resize", {"size": [4, 4, 0]}),
        ("resize", {"size": [4, 4, 4], "interpolation": "sinc"}),
        ("resize_in_plane", {"size": [4.5, 4]}),
        ("resample_to_box", {"size": [4, 4]}),
        ("crop_center_of_mass", {"before": [4, 4]}),
        ("histogram_equalise", {"levels": 1}),
        ("recognise_window", {"low": 3, "high": 3}),
        ("recognise_window", {"low": 0, "high": 80}),
    ],
)
def test_impossible_constants_name_the_step(step, constants):
    with pytest.raises(ModelError, match=f"Step '{step}'"):
        known_steps()[step](line(1, 2, 3, 4), **constants)


def lungs(*inside) -> Image:
    return image(np.array(inside, np.uint8).reshape(1, 1, -1))


def test_mask_outside_and_zscore_in_the_lungs_by_hand():
    case = line(-900, -800, -700, 40, 3000, dtype=np.int16).with_mask("lungs", lungs(1, 1, 1, 0, 0))
    masked = apply(case, ("mask_outside", {"mask": "lungs"}))
    assert values(masked) == [-900, -800, -700, 0, 0]
    assert masked.images["CT"].array.dtype == np.int16
    assert values(case)[4] == 3000
    scored = apply(masked, ("zscore", {"mask": "lungs", "outside": 0}))
    step = 100 / np.sqrt(20000 / 3)
    assert values(scored) == pytest.approx([-step, 0, step, 0, 0])
    other = line(-900, -800, -700, -5000, 77).with_mask("lungs", lungs(1, 1, 1, 0, 0))
    assert values(apply(other, ("zscore", {"mask": "lungs", "outside": 0}))) == pytest.approx(values(scored))
    treated_alike = apply(case, ("zscore", {"mask": "lungs"}))
    assert values(treated_alike)[3] == pytest.approx(840 / np.sqrt(20000 / 3))


def test_mask_outside_of_each_input_and_type():
    images = {"CT": image(np.array([[[5, 6]]], np.uint8)), "PET": image(np.array([[[1.5, 2.5]]], np.float32))}
    case = PreparedCase(images, "CT", masks={"lungs": lungs(1, 0)})
    result = apply(case, ("mask_outside", {"mask": "lungs", "value": {"CT": -1000, "PET": 0.5}}))
    assert values(result) == [5, -1000] and values(result, "PET") == [1.5, 0.5]
    only = apply(case, ("mask_outside", {"mask": "lungs", "inputs": ["PET"]}))
    assert only.images["CT"] is case.images["CT"] and values(only, "PET") == [1.5, 0]
    elsewhere = case.with_mask("lungs", Image(np.ones((1, 1, 3), np.uint8), Grid((3, 1, 1))))
    with pytest.raises(ModelError, match="'CT' is not on the grid of the mask 'lungs'"):
        apply(elsewhere, ("mask_outside", {"mask": "lungs"}))


@pytest.mark.parametrize("masks", [{}, {"lungs": lungs(0, 0)}])
def test_mask_outside_without_a_mask_warns(masks):
    case = PreparedCase(line(1, 2).images, "CT", masks=masks)
    assert values(apply(case, ("mask_outside", {"mask": "lungs"}))) == [1, 2]
    assert codes(case) == ["empty-mask"]


def test_histogram_equalise_by_hand():
    assert values(apply(line(0, 0, 0, 4), ("histogram_equalise", {"levels": 4}))) == [0, 0, 0, 1]
    # Bins [0,1) [1,2) [2,3) [3,4] hold 1, 1, 0 and 2 of 4 values.
    assert values(apply(line(0, 1, 3, 4), ("histogram_equalise", {"levels": 4}))) == [0, 0.25, 0.5, 1]
    masked = line(0, 1, 3, 4, 900, -900).with_mask("lungs", lungs(1, 1, 1, 1, 0, 0))
    result = apply(masked, ("histogram_equalise", {"levels": 4, "mask": "lungs"}))
    assert values(result) == [0, 0.25, 0.5, 1, 1, 0]
    assert values(apply(line(3, 3), ("histogram_equalise", {}))) == [0, 0]


def test_histogram_equalise_makes_the_shares_even_and_keeps_the_order():
    array = np.random.default_rng(1).normal(-800, 60, (10, 20, 20)).astype(np.float32)
    result = apply(PreparedCase({"CT": image(array)}, "CT"), ("histogram_equalise", {})).images["CT"].array
    assert np.histogram(result, 10, (0, 1))[0] == pytest.approx(np.full(10, 400), rel=0.2)
    order = np.argsort(array, axis=None)
    assert (np.diff(result.ravel()[order]) >= 0).all()


def test_window_is_recognised_with_a_warning():
    case = line(0, 51, 127.5, 255)
    result = apply(case, ("recognise_window", {}))
    assert values(result) == pytest.approx([-1250, -950, -500, 250], abs=1e-3)
    assert codes(case) == ["display-window"] and "-1250 to 250 HU" in case.reporter.warnings[0]["text"]
    stored = apply(line(0, 51, 255, dtype=np.uint8), ("recognise_window", {"low": -1000, "high": 500}))
    assert values(stored) == pytest.approx([-1000, -700, 500], abs=1e-3)
    again = line(100, 128, 255)
    first = apply(again, ("recognise_window", {"low": -500, "high": 499}))
    assert values(apply(first, ("recognise_window", {}))) == values(first)


@pytest.mark.parametrize("ordinary", [(-1000, 40, 255), (0, 40, 1200), (110, 150, 200), (0, 1), (0, 1, 2)])
def test_hounsfield_units_and_masks_are_no_window(ordinary):
    case = line(*ordinary)
    assert values(apply(case, ("recognise_window", {}))) == list(ordinary)
    assert not codes(case)


def test_windowed_ct_passes_the_check_only_for_a_model_that_restores_it():
    ct = image(np.linspace(0, 255, 64, dtype=np.float32).reshape(4, 4, 4))
    check_image(ct, "CT", modality="CT", unit="HU", windowed=True)
    with pytest.raises(InputError, match="8-bit display values"):
        check_image(ct, "CT", modality="CT", unit="HU")
    with pytest.raises(InputError, match="not in Hounsfield units"):
        check_image(ct.with_array(ct.array * 4), "CT", modality="CT", unit="HU", windowed=True)
