"""The networks of report 001: exact sizes, shapes, reach, and the split that Monte Carlo relies on."""

from __future__ import annotations

import pytest
import torch
from SegDLEngine.errors import ModelError
from SegDLEngine.networks.blocks import ConcatConvUnit, SameConv2d
from SegDLEngine.networks.registry import LUNG_UNET2D_COMPACT, NETWORKS, build_network, network_rows
from torch import nn


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_of_the_report():
    rows = {(row["name"], bool(row["options"])): row for row in network_rows()}
    assert rows["lung_unet2d", False]["trainable"] == 31_031_685
    assert rows["lung_unet2d", False]["input"] == [1, 512, 512]
    assert rows["lung_unet2d_small", False]["trainable"] == 23_017
    assert rows["lung_unet2d_small", False]["input"] == [1, 32, 32]
    assert rows["lung_unet2d", True]["trainable"] == 889_613
    assert rows["lung_unet2d", True]["static"] == 2_376


def test_a_row_for_every_variant():
    assert len(list(network_rows())) == sum(len(entry.variants) for entry in NETWORKS.values())


@pytest.mark.parametrize("normalisation", [None, "batch", "instance", "group"])
def test_logits_have_the_shape_of_the_slices(normalisation):
    network = build_network(
        "lung_unet2d", {"filters": 4, "in_channels": 3, "out_channels": 2, "normalisation": normalisation}
    ).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, 48, 32)).shape == (2, 2, 48, 32)
    with torch.no_grad():
        assert build_network("lung_unet2d_small")(torch.randn(3, 1, 32, 32)).shape == (3, 1, 32, 32)


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("lung_unet2d", {"filters": 1, "depth": 3}, 96),
        ("lung_unet2d", {"filters": 1, "depth": 5}, 320),
        ("lung_unet2d_small", {}, 64),
    ],
)
def test_receptive_field_is_what_the_gradient_reaches(name, options, side):
    """With positive weights and mean pooling every voxel that can matter has a gradient."""
    network = build_network(name, options).eval().double()
    network.pool = nn.AvgPool2d(2)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    widest = 0
    middle = side // 2 // network.divisible_by * network.divisible_by
    for phase in range(network.divisible_by):
        image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
        network(image)[0, 0, middle + phase, middle].backward()
        rows = torch.nonzero(image.grad[0, 0].sum(dim=1)).ravel()
        assert rows[0] > 0 and rows[-1] < side - 1, "the test image is too small"
        widest = max(widest, int(rows[-1] - rows[0]) + 1)
    assert network.receptive_field == widest


def test_dropout_sits_where_the_report_puts_it():
    network = build_network("lung_unet2d", {"filters": 2})
    assert network.dropout_layers == ("skip_dropout", "bottom_dropout")
    assert [network.get_submodule(name).p for name in network.dropout_layers] == [0.5, 0.5]
    seen = []
    for name in network.dropout_layers:
        network.get_submodule(name).register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    network.eval()(torch.zeros(1, 1, 64, 64))
    assert seen == [(16, 8, 8), (32, 4, 4)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lung_unet2d", {"filters": 4}),
        ("lung_unet2d", {**LUNG_UNET2D_COMPACT, "filters": 4}),
        ("lung_unet2d_small", {}),
    ],
)
def test_prefix_and_rest_make_the_whole(name, options):
    torch.manual_seed(0)
    network = build_network(name, options).eval()
    slices = torch.randn(2, options.get("in_channels", 1), 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(network.from_prefix(network.shared_prefix(slices)), network(slices))
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        torch.manual_seed(3)
        whole = network(slices)
        torch.manual_seed(3)
        torch.testing.assert_close(network.from_prefix(network.shared_prefix(slices)), whole)


def test_even_kernels_pad_at_the_bottom_and_right_like_keras():
    conv = SameConv2d(1, 1, 2, bias=False)
    nn.init.ones_(conv.weight)
    with torch.no_grad():
        summed = conv(torch.arange(9.0).reshape(1, 1, 3, 3))[0, 0]
    assert summed.tolist() == [[8, 12, 7], [20, 24, 13], [13, 15, 8]]


def test_split_concat_convolution_equals_the_whole():
    unit = ConcatConvUnit(3, 5, 4, 3)
    skip, up = torch.randn(1, 3, 7, 7), torch.randn(1, 5, 7, 7)
    with torch.no_grad():
        torch.testing.assert_close(
            unit.add_up_part(unit.skip_part(skip), up), unit(torch.cat([skip, up], dim=1))
        )


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("lung_unet9d", {}, "no network named 'lung_unet9d'"),
        ("lung_unet2d", {"fliters": 3}, "fliters"),
        ("lung_unet2d", {"filters": 2, "normalisation": "layer"}, "normalisation 'layer'"),
        ("lung_unet2d", {"depth": 1}, "depth"),
    ],
)
def test_wrong_names_and_options_are_model_errors(name, options, text):
    with pytest.raises(ModelError, match=text):
        build_network(name, options)
