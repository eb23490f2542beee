"""Inference by windows: their layout, the blending, and what must not depend on either."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.errors import Cancelled, ModelError, SegDLError
from SegDLEngine.inference import execution, windows
from SegDLEngine.inference.blending import SlabBlender, axis_weights
from SegDLEngine.inference.execution import Executor
from SegDLEngine.inference.mirroring import Mirroring
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.inference.window_layout import WindowLayout, count_windows, fit_length, place_windows
from SegDLEngine.networks.network import Network, dropout_layers
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from torch import nn

SETTINGS = {
    "mode": "windows",
    "patch": [16, 12, 8],
    "overlap": 0.25,
    "batch": 1,
    "activation": "sigmoid",
    "threshold": 0.5,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Pointwise(Network):
    """A voxel's logit depends on that voxel alone, so windows must not be visible at all."""

    dimensions, divisible_by, receptive_field = 3, 4, 1

    def __init__(self, labels: int = 1, dropout: float = 0.0, kernel: int = 1, margin: int = 0):
        super().__init__()
        self.conv = nn.Conv3d(1, labels, kernel, padding=kernel // 2 - margin)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.conv.weight.copy_(torch.linspace(-3, 3, self.conv.weight.numel()).view_as(self.conv.weight))
            self.conv.weight[:, 0, kernel // 2, kernel // 2, kernel // 2] += 4
            self.conv.bias.copy_(torch.linspace(-1, 0, labels))
        self.margin, self.report_input = margin, (1, 8, 8, 8)
        self.dropout_layers = dropout_layers(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(self.dropout(images))


class Steep(Network):
    """Grows along i, so that mirror images are answered differently by an exactly known amount."""

    dimensions, divisible_by, receptive_field, report_input = 3, 1, 1, (1, 8, 8, 8)
    dropout_layers = ()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * 0 + torch.linspace(-2, 2, images.shape[-1], dtype=images.dtype)


def runtime() -> Runtime:
    return Runtime(torch.device("cpu"))


def volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def whole(net: Network, channels: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.sigmoid(net(torch.from_numpy(channels)[None]))[0].numpy()


def small_unet(**options) -> Network:
    torch.manual_seed(0)
    return build_network("unet3d_69k", {"in_channels": 1, **options}).eval()


def run(
    net: Network, channels: np.ndarray, samples: int = 0, seed: int = 0, mask=None, reporter=None, **changes
):
    reporter = reporter or Reporter()
    return predict(net, channels, {**SETTINGS, **changes}, runtime(), reporter, samples, seed, mask)


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


@pytest.mark.parametrize("uncertainty", ["none", "flip_tta"])
def test_mirror_images_of_a_symmetric_network_change_nothing(uncertainty):
    net, channels = Pointwise(), volume(1, 10, 14, 20)
    plain = run(net, channels).probability
    samples = int(uncertainty == "flip_tta")
    found = run(net, channels, samples, mirroring=["i", "j", "k"], uncertainty=uncertainty)
    np.testing.assert_allclose(found.probability, plain, atol=1e-6)
    if samples:
        assert found.std.max() < 1e-6


def test_mirror_images_are_averaged_and_their_spread_is_the_uncertainty():
    channels = volume(1, 4, 6, 9)
    settings = {"patch": [9, 6, 4], "uncertainty": "flip_tta"}
    ramp = 1 / (1 + np.exp(-np.linspace(-2, 2, 9)))
    mirrored = np.stack([ramp, ramp[::-1]])
    found = run(Steep(), channels, samples=1, mirroring=["i"], **settings)
    np.testing.assert_allclose(found.probability[0, 2, 3], mirrored.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(found.mean, found.probability)
    np.testing.assert_allclose(found.std[0, 2, 3], mirrored.std(axis=0), atol=1e-6)
    everywhere = run(Steep(), channels, samples=1, **settings)
    np.testing.assert_allclose(everywhere.probability[0, 2, 3], ramp, atol=1e-6)
    np.testing.assert_allclose(everywhere.mean[0, 2, 3], mirrored.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(everywhere.std[0, 2, 3], mirrored.std(axis=0), atol=1e-6)
    without = run(Steep(), channels, samples=0, **settings)
    np.testing.assert_allclose(without.probability[0, 2, 3], ramp, atol=1e-6)
    assert without.std is None


def test_mirror_images_leave_monte_carlo_alone():
    net, channels = small_unet(dropout=0.5), volume(1, 8, 12, 16)
    plain, mirrored = (run(net, channels, 2, 3, **more) for more in ({}, {"mirroring": ["j"]}))
    np.testing.assert_array_equal(mirrored.std, plain.std)
    np.testing.assert_array_equal(mirrored.mean, plain.mean)
    other = run(net, channels[:, :, ::-1].copy()).probability[:, :, ::-1]
    np.testing.assert_allclose(mirrored.probability, (plain.probability + other) / 2, atol=1e-5)
    assert np.abs(plain.probability - other).max() > 1e-3


def test_mirror_images_of_slices():
    """A 2D network whose answer leans to one side: the mean of both sides does not."""
    torch.manual_seed(0)
    net = build_network("lung_unet2d", {"in_channels": 1, "filters": 2, "depth": 2}).eval()
    channels = volume(1, 2, 8, 12)
    settings = {**SETTINGS, "mode": "slices", "mirroring": ["i"], "uncertainty": "flip_tta"}
    one = predict(net, channels, settings, runtime(), Reporter(), 1)
    other = predict(net, channels[..., ::-1].copy(), settings, runtime(), Reporter(), 1)
    np.testing.assert_allclose(one.probability, other.probability[..., ::-1], atol=1e-5)
    assert one.std.max() > 1e-3
    with pytest.raises(ModelError, match="axis 'k'"):
        predict(net, channels, {**settings, "mirroring": ["k"]}, runtime(), Reporter())


def test_all_combinations_of_axes_are_seen():
    found = Mirroring.of({"mirroring": ["k", "i"]}, 3, 0)
    assert found.predicts and not found.spreads
    assert set(found.flips) == {(-1,), (-3,), (-1, -3)}
    assert len(Mirroring.of({"uncertainty": "flip_tta"}, 3, 1).flips) == 7
    assert Mirroring.of({"uncertainty": "flip_tta"}, 3, 0) == Mirroring()


@pytest.mark.parametrize("checked", [True, False])
def test_half_precision_is_close(checked):
    net, channels = small_unet(), volume(1, 10, 14, 22)
    run_in_half = Runtime(torch.device("cpu"), "bf16", check_precision=checked)
    with torch.no_grad():
        net.output.bias.fill_(-8.0)
    found = predict(net, channels, SETTINGS, run_in_half, Reporter()).probability
    assert run_in_half.precision == "bf16" and not run_in_half.check_precision
    difference = np.abs(found - run(net, channels).probability)
    assert 0 < difference.max() < 0.05


def test_cancel_stops_between_passes():
    fractions = []

    def sink(event):
        if event["event"] == "progress":
            fractions.append(event["fraction"])

    reporter = Reporter(sink, lambda: len(fractions) >= 4)
    with pytest.raises(Cancelled):
        run(small_unet(), volume(1, 20, 24, 40), samples=3, reporter=reporter)
    assert len(fractions) == 4 and 0 < fractions[-1] < 0.1


def test_plan_event_tells_patch_memory_and_time():
    events: list = []
    channels = volume(1, 20, 24, 40)
    run(small_unet(), channels, patch=[32, 24, 16], reporter=Reporter(events.append))
    (plan,) = [event for event in events if event["event"] == "plan"]
    assert plan["patch"] == [32, 24, 16] and plan["device"] == "cpu" and plan["precision"] == "fp32"
    # Ten features of a window and the ten of the skip are alive together: 1 MB.
    assert 1 <= plan["memory_mb"] < 50 and plan["seconds"] >= 0


def test_out_of_memory_lowers_the_batch_and_keeps_the_result(monkeypatch):
    net, channels = small_unet(), volume(1, 10, 14, 22)
    expected = run(net, channels).probability
    monkeypatch.setattr(execution, "_CPU_BATCH_VOXELS", 2**30)
    original = Executor.run

    def hungry(self, images, items, *rest):
        if len(items) > 2:
            raise MemoryError
        return original(self, images, items, *rest)

    monkeypatch.setattr(Executor, "run", hungry)
    reporter = Reporter()
    found = run(net, channels, batch=8, reporter=reporter).probability
    np.testing.assert_allclose(found, expected, atol=2e-5)
    texts = [warning["text"] for warning in reporter.warnings]
    assert [text.rpartition(" with ")[2] for text in texts] == ["batch of 4.", "batch of 2."]


@pytest.mark.parametrize("adapt", [True, False])
def test_out_of_memory_shrinks_the_patch_where_the_card_allows(monkeypatch, adapt):
    monkeypatch.setattr(execution, "has_fast_bf16", lambda device: False)
    monkeypatch.setattr(windows, "_LEAST_SIDE", 8)
    net, channels = Pointwise(), volume(1, 30, 30, 30)
    original = Executor.run

    def hungry(self, images, items, *rest):
        if images[0].size > 8**3:
            raise MemoryError
        return original(self, images, items, *rest)

    monkeypatch.setattr(Executor, "run", hungry)
    reporter = Reporter()
    changes = {"patch": [32, 32, 32], "adapt_patch": adapt, "reporter": reporter}
    if not adapt:
        with pytest.raises(SegDLError, match="not enough memory"):
            run(net, channels, **changes)
        return
    found = run(net, channels, **changes).probability
    np.testing.assert_allclose(found, whole(net, channels), atol=1e-6)
    assert [warning["text"].partition("windows of ")[2] for warning in reporter.warnings] == [
        "16 x 16 x 16 voxels.",
        "8 x 8 x 8 voxels.",
    ]


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
