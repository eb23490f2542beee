"""Where windows lie, and the weights by which their answers are blended."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.inference.blending import SlabBlender, axis_weights
from SegDLEngine.inference.window_layout import WindowLayout, count_windows, fit_length, place_windows


@pytest.mark.parametrize(
    ("side", "overlap", "count"), [(96, 0.5, 100), (96, 0.25, 48), (160, 0.25, 8), (256, 0.25, 1)]
)
def test_no_more_windows_than_needed(side, overlap, count):
    assert len(WindowLayout.of((200, 256, 256), (side,) * 3, overlap)) == count


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("size", [3, 10, 11, 37, 100])
def test_windows_cover_the_axis_and_share_what_was_asked(size, overlap):
    length = 10
    starts = place_windows(size, length, overlap)
    covered = np.zeros(max(size, length), bool)
    for start in starts:
        covered[start : start + length] = True
    assert covered.all() and starts[0] == 0
    assert starts[-1] == max(size - length, 0)
    assert len(starts) == count_windows(size, length, overlap)
    shared = length - np.diff(starts)
    assert np.all(shared >= round(overlap * length)) and np.ptp(shared if len(shared) else [0]) <= 1


def test_the_patch_is_no_longer_than_the_number_of_windows_needs():
    assert fit_length(200, range(16, 97, 16), 0.25) == 80 and count_windows(200, 80, 0.25) == 3
    assert fit_length(50, range(16, 97, 16), 0.25) == 64
    assert fit_length(500, range(16, 97, 16), 0.25) == 96


def test_windows_are_numbered_with_i_fastest():
    layout = WindowLayout((5, 12, 8), (8, 6, 4), ((0,), (0, 6), (0, 2, 4)))
    assert len(layout) == 6
    assert [layout.start(number) for number in (0, 1, 3, 5)] == [(0, 0, 0), (0, 0, 2), (0, 6, 0), (0, 6, 4)]
    assert layout.inside(4) == (slice(0, 5), slice(6, 12), slice(2, 6))


@pytest.mark.parametrize("blending", ["gaussian", "constant"])
@pytest.mark.parametrize(("size", "overlap"), [(96, 0.25), (200, 0.0), (257, 0.5), (97, 0.9), (40, 0.25)])
def test_weights_are_a_partition_of_unity(size, overlap, blending):
    starts = place_windows(size, 96, overlap)
    weights = axis_weights(starts, 96, blending)
    total = np.zeros(max(starts) + 96)
    for start, weight in zip(starts, weights, strict=True):
        assert weight.dtype == np.float32 and weight.min() > 0
        total[start : start + 96] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_gaussian_trusts_the_middle_of_a_window():
    first, second = axis_weights((0, 48), 96, "gaussian")
    assert first[60] > 0.8 and second[60 - 48] < 0.2 and first[71] == pytest.approx(0.5, abs=0.1)


def test_slabs_hold_a_window_and_no_more():
    """200 slices in windows of 32: of every layer 32 slices are held, however far the windows go."""
    layout = WindowLayout.of((200, 10, 6), (32, 8, 4), 0.5)
    blender = SlabBlender(layout, {"probability": 2, "std": 1}, "gaussian")
    assert blender.nbytes == 3 * 32 * 10 * 6 * 4
    seen = []

    def keep(slices):
        for k, values in slices:
            assert values["probability"].shape == (2, 10, 6)
            np.testing.assert_allclose(values["probability"][1], k, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(values["std"], 1, atol=1e-6)
            seen.append(k)

    for number in range(len(layout)):
        first = layout.start(number)[0]
        keep(blender.release(first))
        assert len(seen) == first
        ramp = np.broadcast_to(np.arange(first, first + 32, dtype=np.float32)[:, None, None], (2, 32, 8, 4))
        blender.add(number, {"probability": ramp, "std": np.ones((1, 32, 8, 4), np.float32)})
        assert blender.nbytes == 3 * 32 * 10 * 6 * 4
    keep(blender.release(200))
    assert seen == list(range(200))
    with pytest.raises(ValueError, match="released"):
        blender.add(0, {})
