"""The ResU-Net of report 004: exact sizes of its builder, skips, Keras equivalences, Monte Carlo dropout."""

from __future__ import annotations

import pytest
import torch
from network_checks import reach_of_gradient
from SegDLEngine.errors import ModelError
from SegDLEngine.networks.registry import build_empty, build_network
from SegDLEngine.networks.res_unet2d import ChannelNorm2d, ResidualBlock2d, SameTransposedConv2d
from torch import nn

DEPTHS_ONE = {"encoder_depths": [1] * 5, "output_depth": 1}
NARROW = {
    "filters": [16, 16, 16],
    "encoder_depths": [1] * 3,
    "decoder_depths": [1] * 2,
    "output_depth": 1,
    "upsampling": "bilinear",
}
TINY = {"filters": [2, 3, 4], "encoder_depths": [1, 2, 1], "decoder_depths": [1, 2]}


def counts(module: nn.Module) -> tuple[int, int]:
    """Trainable parameters and batch-norm statistics."""
    static = sum(b.numel() for name, b in module.named_buffers() if not name.endswith("num_batches_tracked"))
    return sum(parameter.numel() for parameter in module.parameters()), static


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, (6_854_609, 9_824)), (DEPTHS_ONE, (2_255_121, 4_512)), (NARROW, (38_049, 576))],
)
def test_parameters_of_the_three_printed_networks(options, expected):
    assert counts(build_empty("res_unet2d", options, "meta")) == expected


def test_parameters_by_stage():
    network = build_empty("res_unet2d", {}, "meta")
    encoder = [counts(level) for level in network.encoder]
    assert encoder == [(3_040, 96), (33_088, 320), (205_696, 896), (1_116_416, 2_304), (4_461_056, 4_608)]
    assert [counts(up)[0] for up in network.up] == [295_040, 73_792, 18_464, 4_624]
    assert [counts(level) for level in network.decoder] == [
        (512 + 475_904, 768),
        (256 + 119_168, 384),
        (128 + 29_888, 192),
        (64 + 7_520, 96),
    ]
    assert counts(network.output) == (272 + 32 + 9_632 + 17, 160)
    # The report's totals of the two halves contain the statistics.
    assert sum(map(sum, encoder)) == 5_827_520
    assert 6_854_609 + 9_824 - 5_827_520 == 1_036_913


def test_skips_are_taken_after_the_pooling():
    network = build_network("res_unet2d", {"filters": [2, 2, 2, 2, 3]}).eval()
    seen = []
    for level in network.decoder:
        level.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[2:])))
    with torch.no_grad():
        assert network(torch.randn(2, 4, 64, 96)).shape == (2, 1, 64, 96)
    assert seen == [(4, 6), (8, 12), (16, 24), (32, 48)]
    assert network.divisible_by == 32


@pytest.mark.parametrize("options", [TINY, {**TINY, "upsampling": "bilinear"}, {**TINY, "output_depth": 0}])
def test_options_build_and_train(options):
    network = build_network("res_unet2d", {**options, "in_channels": 3, "out_channels": 2}).train()
    logits = network(torch.randn(2, 3, 16, 8))
    assert logits.shape == (2, 2, 16, 8)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_channel_norm_by_hand():
    norm = ChannelNorm2d(4)
    features = torch.randn(2, 4, 3, 5)
    mean = features.mean(dim=1, keepdim=True)
    variance = features.var(dim=1, keepdim=True, correction=0)
    with torch.no_grad():
        torch.testing.assert_close(norm(features), (features - mean) / (variance + 1e-3).sqrt())


def test_batch_norm_has_keras_constants():
    norms = [m for m in build_empty("res_unet2d", {}, "meta").modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_transposed_convolution_is_aligned_like_keras():
    """One input pixel at index 1 reaches the outputs 2..4; one at the end loses what leaves the image."""
    layer = SameTransposedConv2d(1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, 10.0).reshape(1, 1, 3, 3))
        layer.bias.zero_()
        image = torch.zeros(1, 1, 3, 3)
        image[..., 0, 1] = 1
        out = layer(image)[0, 0]
        assert out.shape == (6, 6)
        assert out[:3, 2:5].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
        assert out.sum() == 45
        image = torch.zeros(1, 1, 3, 3)
        image[..., 2, 2] = 1
        assert layer(image)[0, 0, 4:, 4:].tolist() == [[1, 2], [4, 5]]


def test_only_the_first_block_of_a_level_convolves_its_shortcut():
    network = build_empty("res_unet2d", {}, "meta")
    shortcuts = [
        [isinstance(block.shortcut, nn.Sequential) for block in level if isinstance(block, ResidualBlock2d)]
        for level in (*network.encoder, *network.decoder, network.output)
    ]
    assert [len(level) for level in shortcuts] == [1, 2, 3, 4, 4, 1, 1, 1, 1, 2]
    assert all(level[0] and not any(level[1:]) for level in shortcuts)


def test_dropout_follows_every_block_and_layer_norm_but_the_output_s():
    network = build_empty("res_unet2d", {}, "meta")
    layers = [network.get_submodule(name) for name in network.dropout_layers]
    assert len(layers) == (1 + 2 + 3 + 4 + 4) + 2 * 4
    assert all(isinstance(layer, nn.Dropout2d) and layer.p == 0.1 for layer in layers)
    assert not any(name.startswith("output") for name in network.dropout_layers)


@pytest.mark.parametrize(("rate", "spreads"), [(0.5, True), (0.0, False)])
def test_passes_with_dropout_spread_and_leave_the_batch_norm_alone(rate, spreads):
    torch.manual_seed(0)
    network = build_network("res_unet2d", {**TINY, "dropout": rate}).eval()
    for name in network.dropout_layers:
        network.get_submodule(name).train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    image = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        prefix = network.shared_prefix(image)
        passes = torch.stack([network.from_prefix(prefix) for _ in range(25)])
        assert bool((passes.std(dim=0) > 0).any()) is spreads
        torch.manual_seed(3)
        whole = network(image)
        torch.manual_seed(3)
        torch.testing.assert_close(network.from_prefix(prefix), whole)
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
def test_receptive_field_is_what_the_gradient_reaches(upsampling):
    network = build_network("res_unet2d", {**TINY, "upsampling": upsampling, "output_depth": 1})
    assert network.receptive_field == reach_of_gradient(network, 160, 16)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"upsampling": "nearest"}, "upsampling 'nearest' is none of transposed, bilinear"),
        ({"encoder_depths": [1, 1]}, "encoder_depths needs 5 counts"),
        ({"decoder_depths": [1]}, "decoder_depths needs 4 counts"),
    ],
)
def test_wrong_layouts_are_named(options, text):
    with pytest.raises(ModelError, match=text):
        build_network("res_unet2d", options)
