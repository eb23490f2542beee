"""Inference by windows: what must not depend on where they lie or how they are blended."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.errors import Cancelled, ModelError
from SegDLEngine.inference import execution, windows
from SegDLEngine.inference.execution import Executor
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.window_layout import WindowLayout
from SegDLEngine.protocol import Reporter
from window_case import SETTINGS, Pointwise, run, runtime, small_unet, volume, whole

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("blending", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
def test_windows_leave_no_trace(overlap, blending):
    net, channels = Pointwise(), volume(1, 21, 26, 35)
    found = run(net, channels, overlap=overlap, blending=blending)
    assert found.probability.shape == (1, 21, 26, 35) and found.probability.dtype == np.float32
    np.testing.assert_allclose(found.probability, whole(net, channels), atol=3e-6)
    assert found.mean is found.probability and found.std is None and found.entropy is None


def test_one_window_is_the_single_pass():
    net, channels = small_unet(), volume(1, 8, 12, 16)
    np.testing.assert_allclose(run(net, channels).probability, whole(net, channels), atol=1e-5)


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize("shape", [(1, 5, 7, 9), (1, 5, 30, 3), (1, 1, 1, 1)])
def test_a_volume_smaller_than_the_patch(shape, adapt):
    net, channels = Pointwise(), volume(*shape)
    found = run(net, channels, adapt_patch=adapt)
    np.testing.assert_allclose(found.probability, whole(net, channels), atol=1e-6)


def test_beyond_the_volume_there_is_the_fill():
    net = Pointwise(kernel=3)
    channels = volume(1, 6, 10, 13)
    padded = np.full((1, 8, 12, 16), 0.7, np.float32)
    padded[:, :6, :10, :13] = channels
    found = run(net, channels, fill=[0.7]).probability
    np.testing.assert_allclose(found, whole(net, padded)[:, :6, :10, :13], atol=1e-6)
    assert not np.allclose(found, run(net, channels).probability, atol=1e-3)


def test_unpadded_convolutions_see_beyond_the_window():
    """The answer is smaller than the patch; beyond the volume lies the fill, as with padding by zeros."""
    padded, unpadded = Pointwise(kernel=3), Pointwise(kernel=3, margin=1)
    channels = volume(1, 9, 14, 20)
    np.testing.assert_allclose(run(unpadded, channels).probability, whole(padded, channels), atol=1e-6)


def test_the_patch_adapts_to_what_the_network_divides_by(monkeypatch):
    shapes = set()
    original = windows._Windows.images

    def watched(self, numbers):
        images = original(self, numbers)
        shapes.add(images.shape[2:])
        return images

    monkeypatch.setattr(windows._Windows, "images", watched)
    events: list = []
    run(
        Pointwise(),
        volume(1, 10, 21, 30),
        patch=[32, 16, 24],
        adapt_patch=True,
        reporter=Reporter(events.append),
    )
    assert shapes == {(12, 12, 32)}
    assert next(event for event in events if event["event"] == "plan")["patch"] == [32, 12, 12]


@pytest.mark.parametrize("batch", [2, 5, 64])
def test_batch_size_changes_nothing(batch, monkeypatch):
    net, channels = small_unet(), volume(1, 10, 14, 22)
    alone = run(net, channels, samples=2, seed=1)
    monkeypatch.setattr(execution, "_CPU_BATCH_VOXELS", 2**30)
    found = run(net, channels, samples=2, seed=1, batch=batch)
    for name in ("probability", "mean", "std", "entropy", "mutual_information"):
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), atol=2e-5, err_msg=name)


def test_only_windows_that_touch_the_mask_are_computed(monkeypatch):
    net, channels = small_unet(), volume(1, 20, 24, 40)
    full = run(net, channels).probability
    mask = np.zeros((20, 24, 40), bool)
    mask[12:15, 3:6, 30:33] = True
    layout = WindowLayout.of((20, 24, 40), (8, 12, 16), 0.25)
    expected = [number for number in range(len(layout)) if mask[layout.inside(number)].any()]
    computed = []
    original = Executor.run

    def watched(self, images, items, *rest):
        computed.extend(items if rest else ())
        return original(self, images, items, *rest)

    monkeypatch.setattr(Executor, "run", watched)
    part = run(net, channels, mask=mask).probability
    assert computed == expected and 0 < len(expected) < len(layout)
    np.testing.assert_allclose(part[:, mask], full[:, mask], atol=1e-6)
    reached = np.zeros(mask.shape, bool)
    for number in expected:
        reached[layout.inside(number)] = True
    assert not part[:, ~reached].any()
    np.testing.assert_allclose(
        run(Pointwise(), channels, mask=mask).probability[:, reached],
        whole(Pointwise(), channels)[:, reached],
        atol=1e-6,
        err_msg="beside the mask, what fewer windows cover must not fade",
    )


def test_an_empty_mask_gives_an_empty_prediction():
    found = run(Pointwise(2, 0.3), volume(1, 9, 9, 9), samples=2, mask=np.zeros((9, 9, 9), bool))
    assert found.probability.shape == (2, 9, 9, 9)
    assert not any(array.any() for array in (found.probability, found.mean, found.std, found.entropy))


def test_softmax_gives_the_foreground_labels_and_one_entropy():
    net, channels = Pointwise(3, 0.4), volume(1, 10, 14, 20)
    found = run(net, channels, samples=3, activation="softmax")
    with torch.no_grad():
        expected = torch.softmax(net.eval()(torch.from_numpy(channels)[None]), dim=1)[0, 1:].numpy()
    np.testing.assert_allclose(found.probability, expected, atol=1e-6)
    assert found.std.shape == (2, 10, 14, 20) and found.entropy.shape == (1, 10, 14, 20)
    classes = np.concatenate([1 - found.mean.sum(axis=0, keepdims=True), found.mean]).astype(float)
    np.testing.assert_allclose(found.entropy[0], -(classes * np.log(classes)).sum(axis=0), atol=1e-5)


def test_monte_carlo_repeats_itself_and_spreads():
    net, channels = small_unet(dropout=0.5), volume(1, 10, 14, 22)
    torch.manual_seed(1)
    first = run(net, channels, samples=3, seed=7)
    torch.manual_seed(2)
    again, other = run(net, channels, samples=3, seed=7), run(net, channels, samples=3, seed=8)
    np.testing.assert_array_equal(first.std, again.std)
    assert not np.array_equal(first.std, other.std)
    assert first.std.mean() > 1e-4 and first.std.max() <= 0.5
    np.testing.assert_array_equal(first.probability, run(net, channels).probability)
    mean = first.mean.astype(float)
    np.testing.assert_allclose(first.entropy, -mean * np.log(mean) - (1 - mean) * np.log(1 - mean), atol=1e-5)


def test_cancel_stops_between_passes():
    fractions = []

    def sink(event):
        if event["event"] == "progress":
            fractions.append(event["fraction"])

    reporter = Reporter(sink, lambda: len(fractions) >= 4)
    with pytest.raises(Cancelled):
        run(small_unet(), volume(1, 20, 24, 40), samples=3, reporter=reporter)
    assert len(fractions) == 4 and 0 < fractions[-1] < 0.1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"patch": [16, 12, 10]}, "patch .16, 12, 10. does not suit"),
        ({"patch": None}, "no 'patch'"),
        ({"blending": "linear"}, "blending is 'linear'"),
        ({"overlap": 1.0}, "overlap is 1.0"),
        ({"fill": [0.0, 1.0]}, "2 values for 1 inputs"),
        ({"mirroring": ["x"]}, "axis 'x'"),
        ({"mode": "slices"}, "3D network"),
    ],
)
def test_settings_that_cannot_be_served_are_model_errors(changes, text):
    settings = {key: value for key, value in {**SETTINGS, **changes}.items() if value is not None}
    with pytest.raises(ModelError, match=text):
        predict(Pointwise(), volume(1, 8, 8, 8), settings, runtime(), Reporter())


def test_another_number_of_inputs_is_a_model_error():
    with pytest.raises(ModelError, match="takes 1 channels"):
        run(Pointwise(), volume(2, 8, 8, 8))
