"""The networks of report 003 (CT of lungs): exact sizes, attention limits, 3D weights in 2D, batch norm."""

from __future__ import annotations

import pytest
import torch
from network_checks import count, reach_of_gradient
from SegDLEngine.networks.blocks_attention import AttentionGate
from SegDLEngine.networks.genesis_unet2d import flatten_kernels
from SegDLEngine.networks.genesis_unet3d import reorder_kernels
from SegDLEngine.networks.registry import build_empty, build_network
from torch import nn
from torch.nn import functional


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("genesis_unet3d", {}, 19_073_665),
        ("genesis_unet3d", {"batch_statistics": True}, 19_073_665),
        ("genesis_unet2d", {}, 6_821_953),
        ("attention_unet3d", {}, 6_213_613),
        ("lungmask_unet2d", {}, 31_054_275),
    ],
)
def test_parameters(name, options, parameters):
    assert count(name, **options) == parameters


def test_parameters_of_the_genesis_network_by_stage():
    stages = build_empty("genesis_unet3d", {}, "meta").children()
    sizes = [sum(parameter.numel() for parameter in stage.parameters()) for stage in stages]
    assert [size for size in sizes if size] == [
        56_448,
        332_352,
        1_328_256,
        5_310_720,
        9_177_088,
        2_294_784,
        573_952,
        65,
    ]


def test_parameters_that_lungmask_uses():
    network = build_empty("lungmask_unet2d", {}, "meta")
    unused = sum(p.numel() for name, p in network.named_parameters() if ".residual_" in name)
    assert unused == 2_100_736
    assert count("lungmask_unet2d") - unused == 28_953_539


@pytest.mark.parametrize(
    ("name", "options", "multiple"),
    [
        ("genesis_unet3d", {"filters": 2}, 8),
        ("genesis_unet2d", {"filters": 2, "batch_statistics": True}, 8),
        ("attention_unet2d", {"filters": 2}, 16),
        ("attention_unet2d", {"filters": 2, "deep_supervision": False}, 16),
        ("attention_unet3d", {"filters": 2}, 16),
        ("lungmask_unet2d", {"filters": 2}, 16),
    ],
)
@pytest.mark.parametrize("classes", [1, 3])
def test_logits_have_the_shape_of_the_images(name, options, multiple, classes):
    network = build_network(name, {**options, "in_channels": 2, "out_channels": classes}).eval()
    assert (network.divisible_by, network.margin, network.dropout_layers) == (multiple, 0, ())
    shape = (2 * multiple, *[multiple] * (network.dimensions - 1))
    with torch.no_grad():
        assert network(torch.randn(1, 2, *shape)).shape == (1, classes, *shape)


def test_report_patches_need_padding():
    network = build_network("genesis_unet2d", {"filters": 2}).eval()
    assert network.encode(torch.zeros(1, 1, 68, 68))[-1].shape == (1, 32, 8, 8)
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        network(torch.zeros(1, 1, 68, 68))
    assert network(torch.zeros(1, 1, 72, 72)).shape == (1, 1, 72, 72)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_attention_lies_between_0_and_1(dimensions):
    torch.manual_seed(0)
    gate = AttentionGate(dimensions, 3, 5)
    skip, coarse = torch.randn(2, 3, *[8] * dimensions), torch.randn(2, 5, *[4] * dimensions)
    with torch.no_grad():
        alpha = gate.attention(skip, coarse)
    assert alpha.shape == (2, 1, *[8] * dimensions)
    assert 0 < alpha.min() < alpha.max() < 1


def test_an_open_gate_is_no_gate_and_a_closed_one_lets_nothing_through():
    torch.manual_seed(0)
    gate = AttentionGate(3, 3, 5).eval()
    skip, coarse = torch.randn(2, 3, 8, 8, 8), torch.randn(2, 5, 4, 4, 4)
    with torch.no_grad():
        gate.psi.bias.fill_(60)
        torch.testing.assert_close(gate(skip, coarse), gate.combine(gate.weigh(skip)))
        gate.psi.bias.fill_(-60)
        torch.testing.assert_close(gate(skip, coarse), gate.combine(gate.weigh(torch.zeros_like(skip))))


def test_gates_weigh_levels_two_to_four_with_the_next_coarser_features():
    network = build_network("attention_unet2d", {"filters": 2}).eval()
    seen = []
    for gate in network.gates:
        gate.register_forward_hook(lambda module, inputs, output: seen.append([t.shape[1:] for t in inputs]))
    with torch.no_grad():
        network(torch.randn(1, 1, 32, 32))
    assert seen == [
        [(16, 4, 4), (32, 2, 2)],
        [(8, 8, 8), (16, 4, 4)],
        [(4, 16, 16), (8, 8, 8)],
    ]


def _continue_along_k(network: nn.Module) -> None:
    """Make the 3x3x3 convolutions see the border slices repeated, not zeros, beyond the volume."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d) and layer.kernel_size == (3, 3, 3):
            layer.padding = (0, 1, 1)
            layer.register_forward_pre_hook(
                lambda module, inputs: functional.pad(inputs[0], (0, 0, 0, 0, 1, 1), mode="replicate")
            )


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_flattened_encoder_is_the_3d_one_on_constant_volumes(batch_statistics):
    torch.manual_seed(0)
    options = {"filters": 4, "batch_statistics": batch_statistics}
    solid = build_network("genesis_unet3d", options).double().eval()
    flat = build_network("genesis_unet2d", options).double().eval()
    flat.load_state_dict(flatten_kernels(solid.state_dict()))
    _continue_along_k(solid)
    image = torch.rand(1, 1, 32, 24, dtype=torch.float64)
    with torch.no_grad():
        volumes = solid.encode(image[:, :, None].expand(-1, -1, 16, -1, -1))
        for volume, features in zip(volumes, flat.encode(image), strict=True):
            torch.testing.assert_close(volume[:, :, 1], features, rtol=1e-10, atol=1e-11)


def test_flattened_steps_up_are_the_mean_of_the_two_slices():
    torch.manual_seed(0)
    solid = build_network("genesis_unet3d", {"filters": 2})
    flat = build_network("genesis_unet2d", {"filters": 2})
    flat.load_state_dict(flatten_kernels(solid.state_dict()))
    features = torch.randn(1, 32, 3, 2)
    with torch.no_grad():
        slices = solid.up_tr256.up_conv(features[:, :, None])
        torch.testing.assert_close(slices.mean(dim=2), flat.up_tr256.up_conv(features))


def test_all_flattened_weights_fit():
    solid = build_empty("genesis_unet3d", {}, "meta")
    flat = build_empty("genesis_unet2d", {}, "meta")
    shapes = {key: value.shape for key, value in flatten_kernels(solid.state_dict()).items()}
    assert shapes == {key: value.shape for key, value in flat.state_dict().items()}


def test_public_kernels_are_turned():
    torch.manual_seed(0)
    public = build_network("genesis_unet3d", {"filters": 2}).eval()
    ours = build_network("genesis_unet3d", {"filters": 2}).eval()
    ours.load_state_dict(reorder_kernels(public.state_dict()))
    cube = torch.randn(1, 1, 8, 16, 24)
    with torch.no_grad():
        turned = public(cube).permute(0, 1, 4, 3, 2)
        torch.testing.assert_close(ours(cube.permute(0, 1, 4, 3, 2)), turned, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_batch_statistics_are_an_option_and_applying_leaves_the_running_ones(batch_statistics):
    torch.manual_seed(0)
    network = build_network("genesis_unet2d", {"filters": 2, "batch_statistics": batch_statistics}).eval()
    before = {key: value.clone() for key, value in network.named_buffers()}
    first, second = torch.randn(1, 1, 16, 16), 3 + torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        alone, together = network(first), network(torch.cat([first, second]))[:1]
    assert torch.allclose(alone, together, atol=1e-5) is not batch_statistics
    assert all(torch.equal(before[key], value) for key, value in network.named_buffers())
    network.train()(first)
    assert not torch.equal(network.down_tr64.ops[0].bn1.running_mean, torch.zeros(2))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "genesis_unet3d",
            {
                "down_tr64.ops.0.conv1.weight": (32, 1, 3, 3, 3),
                "down_tr512.ops.1.bn1.running_var": (512,),
                "up_tr256.up_conv.weight": (512, 512, 2, 2, 2),
                "up_tr256.ops.0.conv1.weight": (256, 768, 3, 3, 3),
                "out_tr.final_conv.bias": (1,),
            },
        ),
        (
            "lungmask_unet2d",
            {
                "down_path.0.residual_input_conv.weight": (64, 1, 1, 1),
                "down_path.4.block.3.weight": (1024, 1024, 3, 3),
                "down_path.4.block.5.running_mean": (1024,),
                "up_path.0.up.1.weight": (512, 1024, 1, 1),
                "up_path.0.residual_batchnorm.bias": (512,),
                "up_path.3.conv_block.block.0.weight": (64, 128, 3, 3),
                "last.weight": (3, 64, 1, 1),
            },
        ),
    ],
)
def test_weights_bear_the_public_names(name, shapes):
    state = build_empty(name, {}, "meta").state_dict()
    assert {key: tuple(state[key].shape) for key in shapes} == shapes


def test_lungmask_puts_the_norm_after_the_relu():
    block = build_network("lungmask_unet2d", {"filters": 2}).down_path[0].block
    assert [type(layer) for layer in block] == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d] * 2


@pytest.mark.parametrize(
    ("name", "options", "side", "phases"),
    [
        ("genesis_unet2d", {"filters": 1}, 160, range(8)),
        ("attention_unet2d", {"filters": 1, "out_channels": 1}, 352, (0, 1, 7, 8, 15)),
        ("lungmask_unet2d", {"filters": 1, "out_channels": 1}, 352, (0, 1, 7, 8, 15)),
    ],
)
def test_receptive_field_is_what_the_gradient_reaches(name, options, side, phases):
    network = build_network(name, options)
    assert network.receptive_field == reach_of_gradient(network, side, 32, phases)
