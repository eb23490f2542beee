"""The networks of report 000 (PET/CT): exact sizes, the upsampling pathway, recurrent units, norms."""

from __future__ import annotations

import pytest
import torch
from network_checks import count, reach_of_gradient
from SegDLEngine.errors import ModelError
from SegDLEngine.networks.blocks_se import RRCNN3d, SENorm3d
from SegDLEngine.networks.layers import InstanceNorm, upsample_linear
from SegDLEngine.networks.reach import receptive_field
from SegDLEngine.networks.registry import build_empty, build_network
from SegDLEngine.networks.se_resunet3d import rename_public
from torch import nn


@pytest.mark.parametrize(
    ("filters", "whole", "without"),
    [
        (24, 21_751_681, 21_739_873),
        (16, 9_674_497, 9_669_185),
        (15, 8_503_973, 8_499_386),
        (14, 7_409_361, 7_405_273),
        (10, 3_784_081, 3_781_961),
        (2, 153_469, 153_365),
    ],
)
def test_parameters_of_the_se_network(filters, whole, without):
    assert count("se_resunet3d", filters=filters) == whole
    assert count("se_resunet3d", filters=filters, pathway=False) == without
    assert count("se_resunet3d", filters=filters, normalisation="batch") == whole


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [("M1", 6_126_341), ("M2", 14_471_953), ("M3", 10_872_017), ("M4", 11_943_697)],
)
def test_parameters_of_the_recurrent_networks(variant, parameters):
    assert count("rrse_unet3d", variant=variant) == parameters


@pytest.mark.parametrize(
    ("filters", "parameters"),
    [(24, 3_611_665), (16, 1_605_985), (15, 1_411_651), (14, 1_229_845), (10, 627_901), (2, 25_357)],
)
def test_parameters_of_the_baseline(filters, parameters):
    assert count("baseline_unet3d", filters=filters) == parameters


def test_parameters_by_stage():
    network = build_empty("se_resunet3d", {}, "meta")
    sizes = [sum(p.numel() for p in level.parameters()) for level in network.encoder]
    assert sizes == [
        19_008 + 16_800,
        41_856 + 2 * 67_008,
        166_656 + 2 * 267_648,
        665_088 + 2 * 1_069_824,
        2_657_280 + 2 * 4_277_760,
    ]
    assert [sum(p.numel() for p in branch.parameters()) for branch in network.pathway] == [5856, 3552, 2400]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("se_resunet3d", {"filters": 2}),
        ("se_resunet3d", {"filters": 2, "pathway": False, "normalisation": "batch"}),
        ("rrse_unet3d", {"variant": "M1", "filters": 2}),
        ("rrse_unet3d", {"variant": "M3", "filters": 2}),
        ("rrse_unet3d", {"variant": "M4", "filters": 2}),
        ("baseline_unet3d", {"filters": 2}),
    ],
)
def test_logits_have_the_shape_of_the_images_down_to_the_smallest_side(name, options):
    network = build_network(name, options).eval()
    assert network.dimensions == 3
    assert network.dropout_layers == ()
    side = network.divisible_by
    assert side == (8 if name == "baseline_unet3d" else 16)
    logits = network(torch.randn(1, 2, side, 2 * side, side))
    assert logits.shape == (1, 1, side, 2 * side, side)
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_zeroed_pathway_is_no_pathway():
    torch.manual_seed(0)
    whole = build_network("se_resunet3d", {"filters": 2}).eval()
    without = build_network("se_resunet3d", {"filters": 2, "pathway": False}).eval()
    shared = {key: value for key, value in whole.state_dict().items() if not key.startswith("pathway")}
    without.load_state_dict(shared)
    images = torch.randn(1, 2, 16, 16, 32)
    with torch.no_grad():
        for parameter in whole.pathway.parameters():
            parameter.add_(0.1)
        assert not torch.allclose(whole(images), without(images))
        for parameter in whole.pathway.parameters():
            parameter.zero_()
        torch.testing.assert_close(whole(images), without(images), rtol=0, atol=0)


def test_recurrent_units_apply_one_convolution_three_times():
    unit = RRCNN3d(3, 4)
    calls = []
    convolutions = [module for module in unit.modules() if isinstance(module, nn.Conv3d)]
    for module in convolutions:
        module.register_forward_hook(lambda module, inputs, output: calls.append(id(module)))
    unit(torch.randn(1, 3, 4, 4, 4))
    assert len(convolutions) == 3
    assert [calls.count(id(module)) for module in convolutions] == [1, 3, 3]


def test_recurrent_unit_by_hand():
    torch.manual_seed(0)
    unit = RRCNN3d(2, 2)
    shared = unit.units[0].shared
    features = torch.randn(1, 2, 4, 4, 4)
    with torch.no_grad():
        state = shared(features + shared(features + shared(features)))
        torch.testing.assert_close(unit.units[0](features), state)


@pytest.mark.parametrize("channels", [4, 10])
def test_parameters_of_a_recurrent_unit(channels):
    square = channels**2
    expected = square + channels + 2 * (27 * square + channels)
    assert sum(parameter.numel() for parameter in RRCNN3d(channels, channels).parameters()) == expected


def test_se_norm_takes_its_means_before_normalising():
    torch.manual_seed(0)
    norm = SENorm3d(4)
    features = torch.randn(2, 4, 3, 4, 5) + torch.arange(4.0).reshape(1, 4, 1, 1, 1)
    with torch.no_grad():
        means = features.mean(dim=(2, 3, 4), keepdim=True)
        scale, shift = torch.sigmoid(norm.scale(means)), torch.tanh(norm.shift(means))
        expected = scale * nn.InstanceNorm3d(4)(features) + shift
        torch.testing.assert_close(norm(features), expected)


def test_instance_norm_is_torchs_and_passes_single_voxels():
    features = torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(InstanceNorm(3)(features), nn.InstanceNorm3d(3)(features))
    assert InstanceNorm(3)(torch.randn(1, 3, 1, 1, 1)).tolist() == torch.zeros(1, 3, 1, 1, 1).tolist()


@pytest.mark.parametrize(("normalisation", "independent"), [("instance", True), ("batch", False)])
def test_only_instance_norm_keeps_the_samples_of_a_batch_apart(normalisation, independent):
    torch.manual_seed(0)
    network = build_network("se_resunet3d", {"filters": 2, "normalisation": normalisation}).train()
    first, second = torch.randn(1, 2, 32, 16, 16), 3 + 2 * torch.randn(1, 2, 32, 16, 16)
    with torch.no_grad():
        alone = network(first)
        together = network(torch.cat([first, second]))[:1]
    assert torch.allclose(alone, together, atol=1e-4) is independent


@pytest.mark.parametrize(
    ("name", "options", "side", "phases"),
    [
        ("baseline_unet3d", {"filters": 1}, 128, None),
        ("se_resunet3d", {"filters": 2}, 336, (7, 8)),
    ],
)
def test_receptive_field_is_what_the_gradient_reaches(name, options, side, phases):
    """Without the global means of the norms, which reach everywhere."""
    network = build_network(name, options)
    for module in network.modules():
        if isinstance(module, SENorm3d):
            module.forward = lambda features: features
    across = network.divisible_by
    assert network.receptive_field == reach_of_gradient(network, side, across, phases)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_reach_of_linear_upsampling(factor):
    levels = factor.bit_length() - 1
    expected = receptive_field(["pool"] * levels + [f"linear{factor}"], factor)
    assert expected == reached(lambda x: upsample_linear(nn.functional.avg_pool2d(x, factor), factor), factor)


def test_reach_of_transposed_and_strided_convolutions():
    up = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1)
    same = nn.ConvTranspose2d(1, 1, 3, stride=2)
    strided = nn.Conv2d(1, 1, 3, stride=2, padding=1)
    for layer in (up, same, strided):
        nn.init.ones_(layer.weight)
    pool = nn.AvgPool2d(2)
    assert receptive_field(["pool", "transposed3"], 2) == reached(lambda x: up(pool(x)), 2)
    assert receptive_field(["pool", "transposed3same"], 2) == reached(lambda x: same(pool(x)), 2)
    assert receptive_field(["conv3", "subsample", "transposed3"], 2) == reached(lambda x: up(strided(x)), 2)


def reached(layers, period: int) -> int:
    """Widest range of rows that one output row depends on."""
    widest = 0
    for phase in range(period):
        image = torch.ones(1, 1, 8 * period, 2 * period, requires_grad=True)
        layers(image)[0, 0, 4 * period + phase, period].backward()
        rows = torch.nonzero(image.grad[0, 0].sum(dim=1)).ravel()
        widest = max(widest, int(rows[-1] - rows[0]) + 1)
    return widest


def test_unknown_variants_and_norms_are_named():
    with pytest.raises(ModelError, match="variant 'M5' is none of M1, M2, M3, M4"):
        build_network("rrse_unet3d", {"variant": "M5"})
    with pytest.raises(ModelError, match="normalisation 'group' is none of instance, batch"):
        build_network("se_resunet3d", {"filters": 2, "normalisation": "group"})


def public_name(key: str) -> str:
    """What the published HECKTOR 2020 code calls a weight of ours."""
    first, *rest = key.split(".")
    if first == "encoder":
        level, unit, part, *rest = rest
        part = {"unit": "conv1", "shortcut": "res_conv"}[part]
        head = f"block_{int(level) + 1}_{int(unit) + 1}_left.{part}"
    elif first == "decoder":
        stage, part, *rest = rest
        level = 4 - int(stage)
        head = {
            "up": f"upconv_{level}",
            "first": f"block_{level}_1_right",
            "second": f"block_{level}_2_right",
        }[part]
    elif first == "pathway":
        stage, *rest = rest
        head = f"vision_{4 - int(stage)}.conv"
    else:
        head = "conv1x1"
    if rest[0] == "norm":
        _, gate, layer, kind = rest
        rest = ["norm", {"scale": "gamma", "shift": "beta"}[gate], {"0": "conv1", "2": "conv2"}[layer], kind]
    return ".".join([head, *rest])


def test_public_weights_find_their_places():
    ours = build_empty("se_resunet3d", {}, "meta").state_dict()
    public = {public_name(key): value for key, value in ours.items()}
    assert public["block_1_1_left.conv1.conv.weight"].shape == (24, 2, 7, 7, 7)
    assert public["vision_4.conv.norm.gamma.conv2.weight"].shape == (24, 12, 1, 1, 1)
    renamed = rename_public(public)
    assert renamed.keys() == ours.keys()
    assert all(renamed[key] is ours[key] for key in ours)
