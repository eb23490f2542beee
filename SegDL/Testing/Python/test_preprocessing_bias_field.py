"""Intensities of MR: clipped percentiles, and the field of the coils."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps


def case_of(**arrays) -> PreparedCase:
    images = {name: Image(np.asarray(a), Grid(np.shape(a)[::-1]), "MR", "") for name, a in arrays.items()}
    return PreparedCase(images, next(iter(images)))


def apply(case: PreparedCase, name: str, **constants) -> PreparedCase:
    return run_steps(case, [{"step": name, **constants}])


def test_percentiles_by_hand():
    values = np.arange(101, dtype=np.float32).reshape(1, 1, -1)
    case = case_of(T1=values, T2=2 * values)
    clipped = apply(case, "clip_percentiles", low=5, high=90)
    assert clipped.images["T1"].array.ravel().tolist() == np.clip(np.arange(101), 5, 90).tolist()
    assert clipped.images["T2"].array.max() == 180
    only = apply(case, "clip_percentiles", low=5, high=90, inputs=["T2"])
    assert only.images["T1"] is case.images["T1"]


def test_percentiles_of_the_brain_leave_the_background():
    brain = np.concatenate([np.zeros(900), np.arange(1, 101)]).astype(np.int16).reshape(10, 10, 10)
    clipped = apply(case_of(T1=brain), "clip_percentiles", low=10, high=90, above=0).images["T1"].array
    assert clipped.dtype == np.int16
    assert np.count_nonzero(clipped == 0) == 900
    assert (clipped[clipped > 0].min(), clipped.max()) == (11, 90)
    empty = case_of(T1=np.zeros((2, 2, 2)))
    assert not apply(empty, "clip_percentiles", above=0).images["T1"].array.any()


def test_a_smooth_field_is_taken_away():
    """Two tissues in a ball, brighter towards one side: afterwards each tissue has nearly one value."""
    k, j, i = np.meshgrid(*[np.linspace(-1, 1, 32)] * 3, indexing="ij")
    radius = np.sqrt(i**2 + j**2 + k**2)
    tissue = np.where(radius < 0.5, 150.0, 100.0) * (radius < 0.9)
    noise = np.random.default_rng(0).normal(1, 0.01, tissue.shape)
    shaded = (tissue * np.exp(0.4 * i) * noise).astype(np.float32)
    case = case_of(T1=shaded, T2=shaded)
    even = apply(case, "correct_bias_field", shrink=2, inputs=["T1"]).images
    np.testing.assert_array_equal(even["T2"].array, shaded)
    assert even["T1"].array.dtype == np.float32 and not even["T1"].array[tissue == 0].any()
    for value in (100, 150):
        inside = tissue == value
        before = shaded[inside].std() / shaded[inside].mean()
        after = even["T1"].array[inside].std() / even["T1"].array[inside].mean()
        assert before > 0.08 and after < 0.4 * before


def test_thin_and_empty_images_pass():
    thin = np.random.default_rng(0).uniform(1, 2, (2, 24, 24)).astype(np.float32)
    assert np.isfinite(apply(case_of(T1=thin), "correct_bias_field").images["T1"].array).all()
    assert not apply(case_of(T1=np.zeros((8, 8, 8))), "correct_bias_field").images["T1"].array.any()


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("clip_percentiles", {"low": 99, "high": 1}),
        ("clip_percentiles", {"high": 101}),
        ("correct_bias_field", {"shrink": 0}),
        ("correct_bias_field", {"iterations": []}),
    ],
)
def test_impossible_constants_name_the_step(name, constants):
    with pytest.raises(ModelError, match=f"Step '{name}'"):
        apply(case_of(T1=np.ones((4, 4, 4))), name, **constants)
