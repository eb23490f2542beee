"""Unpadded networks over slices: the answer covers the slice, and tiles give what the whole slice gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.inference.borders import Borders, allowed_sides, side_for
from SegDLEngine.inference.execution import Executor
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.inference.slice_tiles import SliceTiles
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_empty, build_network
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.protocol import Reporter
from tiny_model import tiny_card

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {"mode": "slices", "context": [0], "batch": 2, "activation": "softmax", "threshold": 0.5}
UNET = {"filters": 2, "depth": 3, "out_channels": 3, "dropout": 0.3}


def network(name="unet2d", **options):
    torch.manual_seed(0)
    options = options or UNET
    found = build_network(name, options).eval()
    if name != "unet2d":
        for parameter in found.parameters():
            parameter.data *= 20
    return found


def run(net, channels, samples=0, reporter=None, mask=None, **settings):
    runtime = Runtime(torch.device("cpu"))
    found = {**SETTINGS, **settings}
    return predict(net, channels, found, runtime, reporter or Reporter(), samples, 0, mask)


def volume(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def by_hand(net, image, mode, **keywords):
    """Foreground probabilities of one slice, padded by NumPy as far as the network needs."""
    rows, columns = image.shape[1:]
    margin = net.margin
    ends = [side_for(net, length) - length - margin for length in (rows, columns)]
    widths = [(0, 0), (margin, ends[0]), (margin, ends[1])]
    padded = np.pad(image, widths, mode=mode, **keywords)
    with torch.no_grad():
        logits = net(torch.from_numpy(padded)[None])
    return torch.softmax(logits, dim=1)[0, 1:, :rows, :columns].numpy()


def test_the_published_sizes():
    unet = build_empty("unet2d", {}, "meta")
    assert 572 in allowed_sides(unet, 600) and side_for(unet, 388) == 572 and side_for(unet, 389) == 588
    tiles = SliceTiles.of(unet, (512, 512), (572, 572))
    assert tiles.starts == ((0, 384), (0, 384)) and tiles.start(3) == (292, 292)
    assert SliceTiles.of(unet, (240, 240)).patch == (428, 428)


@pytest.mark.parametrize(
    ("padding", "mode", "keywords"),
    [
        ("mirror", "reflect", {}),
        ("edge", "edge", {}),
        ("constant", "constant", {"constant_values": -1.5}),
    ],
)
def test_every_voxel_of_the_slice_is_answered(padding, mode, keywords):
    net, channels = network(), volume(1, 2, 37, 50)
    found = run(net, channels, padding=padding, fill=-1.5).probability
    assert found.shape == (2, 2, 37, 50)
    for k in range(2):
        np.testing.assert_allclose(found[:, k], by_hand(net, channels[:, k], mode, **keywords), atol=1e-6)


@pytest.mark.parametrize("padding", ["mirror", "constant"])
@pytest.mark.parametrize("patch", [[60, 64, 1], [52, 100, 1]])
def test_tiles_give_what_the_whole_slice_gives(padding, patch):
    net, channels = network(), volume(1, 2, 61, 43)
    whole = run(net, channels, padding=padding).probability
    seen = []
    reporter = Reporter(lambda event: seen.append(event) if event["event"] == "plan" else None)
    tiled = run(net, channels, padding=padding, patch=patch, reporter=reporter).probability
    assert seen[0]["patch"][:2] == [
        min(side, side_for(net, n)) for side, n in zip(patch[:2], (43, 61), strict=True)
    ]
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_tiles_where_a_result_is_wanted():
    net, channels = network(), volume(1, 1, 61, 43)
    mask = np.zeros((1, 61, 43), bool)
    mask[0, 2, 3] = True
    whole = run(net, channels).probability
    found = run(net, channels, patch=[52, 52, 1], mask=mask).probability
    np.testing.assert_allclose(found[..., :8, :8], whole[..., :8, :8], atol=1e-6)
    assert not found[..., 40:, :].any()


@pytest.mark.parametrize(
    ("name", "margin"), [("two_path_cnn", 16), ("input_cascade_cnn", 32)], ids=["two path", "cascade"]
)
def test_convolutional_networks_over_whole_slices(name, margin):
    """A pixel's answer is that of the patch around it, as in training."""
    net, channels = network(name, in_channels=2, out_channels=3), volume(2, 1, 9, 12)
    found = run(net, channels, padding="edge").probability
    padded = np.pad(channels[:, 0], [(0, 0), (margin, margin), (margin, margin)], mode="edge")
    side = 2 * margin + 1
    for row, column in ((0, 0), (4, 7), (8, 11)):
        patch = torch.from_numpy(padded[None, :, row : row + side, column : column + side])
        with torch.no_grad():
            expected = torch.softmax(net(patch), dim=1)[0, 1:, 0, 0].numpy()
        np.testing.assert_allclose(found[:, 0, row, column], expected, atol=1e-5)
    assert found.std() > 1e-3


def test_tiles_when_memory_runs_out(monkeypatch):
    """Only inputs of up to 4500 pixels fit: batches, precision and tiles become smaller."""
    net, channels = network(), volume(1, 2, 61, 43)
    whole = run(net, channels).probability
    prefix = Executor._prefix

    def scarce(self, images, flip=()):
        if images[:, 0].size > 4500:
            raise MemoryError
        return prefix(self, images, flip)

    monkeypatch.setattr(Executor, "_prefix", scarce)
    reporter = Reporter()
    np.testing.assert_allclose(run(net, channels, reporter=reporter).probability, whole, atol=0.02)
    assert any("tiles of" in warning["text"] for warning in reporter.warnings)


def test_monte_carlo_and_mirror_images_of_an_unpadded_network():
    net, channels = network(), volume(1, 2, 20, 21)
    sampled = run(net, channels, samples=3)
    assert sampled.std.shape == (2, 2, 20, 21) and sampled.std.max() > 1e-3
    mirrored = run(net, channels, samples=1, uncertainty="flip_tta", padding="mirror")
    assert mirrored.mutual_information.shape == (1, 2, 20, 21)


def test_mirror_of_a_thin_slice_folds_more_than_once():
    borders = Borders.of({"padding": "mirror"}, 1)
    row = np.arange(3, dtype=np.float32).reshape(1, 1, 3)
    assert borders.cut(row, (0, -5), (1, 12)).ravel().tolist() == [1, 0, 1, 2] * 3


def test_settings_that_do_not_suit():
    with pytest.raises(ModelError, match="only unpadded networks"):
        padded = network(filters=2, depth=3, padded=True)
        run(padded, volume(1, 1, 64, 64), patch=[32, 32, 1])
    with pytest.raises(ModelError, match="does not suit"):
        run(network(), volume(1, 1, 64, 64), patch=[61, 61, 1])
    with pytest.raises(ModelError, match="padding is 'round'"):
        run(network(), volume(1, 1, 64, 64), padding="round")
    with pytest.raises(ModelError, match="fill has 2 values"):
        run(network(), volume(1, 1, 64, 64), fill=[1, 2])


@pytest.mark.parametrize("mode", ["whole", "tiles", "region"])
def test_through_the_pipeline(tmp_path, mode):
    """Labels of whole slices, of tiles and inside a region are the same."""
    card = json.loads(json.dumps(tiny_card()))
    card["network"] = {"name": "unet2d", "options": {**UNET, "dropout": 0.0}}
    card["labels"] = [{**card["labels"][0], "value": value, "name": f"Label {value}"} for value in (2, 7)]
    card["preprocessing"] = [{"step": "window", "low": -1000, "high": 200}]
    card["postprocessing"] = []
    card["inference"] |= {"activation": "softmax", "uncertainty": "none", "padding": "mirror"}
    if mode == "tiles":
        card["inference"]["patch"] = [52, 60, 1]
    net = network()
    array = np.random.default_rng(5).integers(-1000, 200, (3, 61, 43)).astype(np.int16)
    prepared = np.clip((array.astype(np.float32) + 1000) / 1200, 0, 1)
    net.output.weight.data *= 40
    with torch.no_grad():
        net.output.bias.data -= net(torch.from_numpy(prepared.reshape(1, 1, 61, -1)[..., :60, :128])).mean(
            dim=(0, 2, 3)
        )
    write_package([net.state_dict()], card, tmp_path / "model", licence_text="Apache-2.0\n")
    image = Image(array, Grid((43, 61, 3)), "CT", "HU")
    box = (-30.2, -9.8, -40.2, -19.8, -0.2, 2.2) if mode == "region" else None
    found = segment(
        {"CT": image}, tmp_path / "model", SegmentOptions(device="cpu", precision="fp32", roi=box)
    )
    halved = {name: tensor.half().float() for name, tensor in net.state_dict().items()}
    net.load_state_dict(halved)
    slices = [by_hand(net, plane[None], "reflect") for plane in prepared]
    classes = np.stack([np.concatenate([1 - p.sum(axis=0, keepdims=True), p]) for p in slices])
    expected = np.array([0, 2, 7], np.uint8)[classes.argmax(axis=1)]
    if mode == "region":
        found, expected = found.labels.array[:, 20:41, 10:31], expected[:, 20:41, 10:31]
    else:
        found = found.labels.array
    assert set(np.unique(expected)) == {0, 2, 7}
    assert (found == expected).mean() > 0.999
