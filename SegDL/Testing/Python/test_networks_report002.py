"""The networks of report 002 (brain MRI): exact sizes, reach, unpadded geometry, switches, subsets."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from network_checks import count, reach_of_gradient
from SegDLEngine.errors import ModelError
from SegDLEngine.networks.multiscale_cnn3d import PATH, NormAct
from SegDLEngine.networks.reach import nominal_receptive_fields
from SegDLEngine.networks.registry import build_empty, build_network
from SegDLEngine.networks.two_path_cnn import MaxoutConv2d, counted_weights
from torch import nn

MODALITIES = ("Flair", "T1", "T1c", "T2")
SUBSETS = [subset for size in range(1, 5) for subset in combinations(MODALITIES, size)]


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("multiscale_cnn3d", {}, 410_072),
        ("two_path_cnn", {}, 809_637),
        ("two_path_cnn", {"in_channels": 9}, 1_111_397),
        ("input_cascade_cnn", {}, 1_921_034),
        ("unet2d", {}, 31_030_658),
        ("unet2d", {"padded": True}, 31_030_658),
        ("unet3d_69k", {}, 68_891),
        ("unet3d_69k", {"in_channels": 1}, 68_081),
    ],
)
def test_parameters(name, options, parameters):
    assert count(name, **options) == parameters


def test_parameters_of_the_multiscale_network_by_kind():
    network = build_empty("multiscale_cnn3d", {}, "meta")

    def total(kind):
        return sum(
            p.numel() for layer in network.modules() if isinstance(layer, kind) for p in layer.parameters()
        )

    assert (total(nn.Conv3d), total(nn.BatchNorm3d), total(nn.PReLU)) == (408_656, 944, 472)
    assert sum(isinstance(layer, nn.Conv3d) for layer in network.modules()) == 19


def test_weights_as_havaei_prints_them():
    assert counted_weights(build_empty("two_path_cnn", {}, "meta")) == 651_488
    assert counted_weights(build_empty("input_cascade_cnn", {}, "meta").second) == 802_368


def test_receptive_fields_of_the_published_code():
    assert nominal_receptive_fields(PATH) == [3, 5, 9, 13, 21, 29, 45, 53, 61, 65, 69, 71, 73]


@pytest.mark.parametrize("skips", ["concat", "sum", None])
@pytest.mark.parametrize("maps", [1, 3])
def test_switches_of_the_multiscale_network(skips, maps):
    network = build_network("multiscale_cnn3d", {"skips": skips, "maps": maps, "in_channels": 2})
    assert network.dropout_layers == ()
    logits = network(torch.randn(2, 2, 8, 16, 8))
    assert logits.shape == (2, 5, 8, 16, 8)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_concatenated_skips_cost_parameters():
    assert count("multiscale_cnn3d", skips="sum") < count("multiscale_cnn3d")
    assert count("multiscale_cnn3d", skips=None) == count("multiscale_cnn3d", skips="sum")
    assert count("multiscale_cnn3d") - count("multiscale_cnn3d", maps=1) == 5 * (64 + 32)


def test_long_skips_matter():
    torch.manual_seed(0)
    networks = {
        skips: build_network("multiscale_cnn3d", {"skips": skips, "in_channels": 1}).eval()
        for skips in ("sum", None)
    }
    networks[None].load_state_dict(networks["sum"].state_dict())
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert not torch.allclose(networks["sum"](image), networks[None](image))


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_every_subset_of_modalities_and_several_class_counts(subset):
    for classes in (2, 5):
        network = build_network("multiscale_cnn3d", {"in_channels": len(subset), "out_channels": classes})
        with torch.no_grad():
            assert network.eval()(torch.randn(1, len(subset), 8, 8, 8)).shape == (1, classes, 8, 8, 8)


def test_batch_norm_of_the_multiscale_network():
    """The published norm: (x - mean) / (deviation + 1e-5), running = 0.5 old + 0.5 new."""
    torch.manual_seed(0)
    norm = NormAct(2)[0].train()
    features = 3 + 2 * torch.randn(2, 2, 4, 4, 4)
    mean = features.mean(dim=(0, 2, 3, 4), keepdim=True)
    deviation = features.std(dim=(0, 2, 3, 4), keepdim=True, correction=0)
    with torch.no_grad():
        torch.testing.assert_close(
            norm(features), (features - mean) / (deviation + 1e-5), rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(norm.running_mean, 0.5 * mean.ravel())


@pytest.mark.parametrize(
    ("name", "options", "side", "across"),
    [
        ("multiscale_cnn3d", {}, 96, 8),
        ("unet2d", {"filters": 1, "depth": 3, "padded": True}, 96, 16),
        ("unet3d_69k", {}, 40, 4),
        ("two_path_cnn", {"out_channels": 2}, 70, 34),
    ],
)
def test_receptive_field_is_what_the_gradient_reaches(name, options, side, across):
    network = build_network(name, {**options, "in_channels": 1})
    for layer in [layer for layer in network.modules() if isinstance(layer, nn.PReLU)]:
        layer.forward = lambda features: features
    assert network.receptive_field == reach_of_gradient(network, side, across)


def test_maxout_takes_the_largest_piece():
    layer = MaxoutConv2d(1, 2, 1)
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([1.0, -1.0, 2.0, 3.0]).reshape(4, 1, 1, 1))
        layer.conv.bias.zero_()
        assert layer(torch.tensor([[[[5.0, -5.0]]]])).tolist() == [[[[5, 5]], [[15, -10]]]]


def test_cascade_sizes():
    with torch.device("meta"):
        patch = torch.empty(1, 4, 65, 65)
    network = build_empty("input_cascade_cnn", {}, "meta")
    probabilities = network.first(patch)
    assert probabilities.shape == (1, 5, 33, 33)
    assert network.second_input(patch).shape == (1, 9, 33, 33)
    assert network(patch).shape == (1, 5, 1, 1)
    assert (network.margin, network.first.margin) == (32, 16)


def test_cascade_sees_the_centre_and_probabilities():
    torch.manual_seed(0)
    network = build_network("input_cascade_cnn", {"in_channels": 1, "out_channels": 2})
    image = torch.randn(1, 1, 36, 35)
    with torch.no_grad():
        joined = network.second_input(image)
    torch.testing.assert_close(joined[:, :1], image[:, :, 16:20, 16:19])
    torch.testing.assert_close(joined[:, 1:].sum(dim=1), torch.ones(1, 4, 3))


def test_whole_slices_give_what_patches_give():
    torch.manual_seed(0)
    network = build_network("two_path_cnn", {"in_channels": 1, "out_channels": 2})
    image = torch.randn(1, 1, 36, 35)
    with torch.no_grad():
        whole = network(image)
        assert whole.shape == (1, 2, 4, 3)
        torch.testing.assert_close(
            whole[..., 2:3, 1:2], network(image[..., 2:35, 1:34]), rtol=1e-4, atol=1e-6
        )


def test_two_path_dropout_is_an_option():
    assert build_empty("two_path_cnn", {}, "meta").dropout_layers == ()
    assert build_empty("two_path_cnn", {"dropout": 0.5}, "meta").dropout_layers == ("dropout",)
    cascade = build_empty("input_cascade_cnn", {"dropout": 0.5}, "meta")
    assert cascade.dropout_layers == ("first.dropout", "second.dropout")


def test_unpadded_sizes_of_the_original_unet():
    network = build_empty("unet2d", {}, "meta")
    sides = []
    for level in network.encoder:
        level.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    with torch.device("meta"):
        logits = network(torch.empty(1, 1, 572, 572))
    assert sides == [568, 280, 136, 64, 28]
    assert logits.shape == (1, 2, 388, 388)
    assert network.report_input == (1, 572, 572)
    assert (572 - network.remainder) % network.divisible_by == 0
    assert 572 - 2 * network.margin == 388
    convolutions = [
        layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    assert len(convolutions) == 23
    assert network.dropout_layers == ("skip_dropout", "bottom_dropout")


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_margin_and_remainder_of_unpadded_unets(depth):
    network = build_network("unet2d", {"filters": 2, "depth": depth}).eval()
    side = network.divisible_by * 15 + network.remainder
    with torch.no_grad():
        logits = network(torch.randn(1, 1, side, side + network.divisible_by))
    assert logits.shape[2:] == (side - 2 * network.margin, side + network.divisible_by - 2 * network.margin)


def test_unpadded_unet_computes_the_middle_of_the_padded_one():
    """With one pooling; with more, the unpadded network pools on a grid of its own."""
    torch.manual_seed(0)
    networks = [
        build_network("unet2d", {"filters": 2, "depth": 2, "padded": padded}).eval()
        for padded in (False, True)
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    image = torch.randn(1, 1, 64, 64)
    margin = networks[0].margin
    with torch.no_grad():
        inside = networks[1](image)[..., margin:-margin, margin:-margin]
        torch.testing.assert_close(networks[0](image), inside, rtol=1e-4, atol=1e-5)


def test_the_small_unet_has_dropout_after_both_encoder_levels():
    network = build_network("unet3d_69k", {"in_channels": 2}).eval()
    assert network.dropout_layers == ("dropout.0", "dropout.1")
    seen = []
    for name in network.dropout_layers:
        network.get_submodule(name).register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        assert network(torch.randn(1, 2, 8, 8, 12)).shape == (1, 1, 8, 8, 12)
    assert seen == [(10, 8, 8, 12), (20, 4, 4, 6)]


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("unet3d_69k", {"in_channels": 1}, (1, 1, 8, 8, 8)),
        ("unet2d", {"filters": 2, "depth": 3, "padded": True}, (1, 1, 16, 16)),
        ("two_path_cnn", {"in_channels": 1, "out_channels": 2, "dropout": 0.5}, (1, 1, 34, 34)),
    ],
)
def test_prefix_and_rest_make_the_whole_with_dropout(name, options, shape):
    torch.manual_seed(0)
    network = build_network(name, options).eval()
    for layer in network.dropout_layers:
        network.get_submodule(layer).train()
    image = torch.randn(shape)
    with torch.no_grad():
        torch.manual_seed(3)
        whole = network(image)
        assert not torch.equal(network(image), whole)
        torch.manual_seed(3)
        torch.testing.assert_close(network.from_prefix(network.shared_prefix(image)), whole)


def test_wrong_switches_are_named():
    with pytest.raises(ModelError, match="skips 'add' is none of concat, sum, None"):
        build_network("multiscale_cnn3d", {"skips": "add"})
    with pytest.raises(ModelError, match="maps must be 1 or 3, found 2"):
        build_network("multiscale_cnn3d", {"maps": 2})
    with pytest.raises(ModelError, match="depth"):
        build_network("unet2d", {"depth": 1})
