"""Monte Carlo dropout: what is random, what is not, and that the numbers are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.errors import ModelError
from SegDLEngine.inference.execution import Executor
from SegDLEngine.inference.monte_carlo import RunningSpread, entropy, foreground_entropy, sampled_dropout
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from torch import nn

SETTINGS = {"mode": "slices", "context": [0], "batch": 2, "activation": "sigmoid", "threshold": 0.5}


def network(**options) -> nn.Module:
    torch.manual_seed(0)
    options = {"filters": 4, "depth": 3, "head_channels": 4, "normalisation": "batch", **options}
    return build_network("lung_unet2d", options).eval()


def run(net: nn.Module, samples: int, seed: int = 0):
    channels = np.random.default_rng(1).random((1, 3, 16, 16), dtype=np.float32)
    return predict(net, channels, SETTINGS, Runtime(torch.device("cpu")), Reporter(), samples, seed)


def test_no_dropout_rate_no_spread():
    found = run(network(dropout=0.0), samples=4)
    assert found.std.max() == 0
    np.testing.assert_array_equal(found.mean, found.probability)


def test_dropout_spreads():
    found = run(network(dropout=0.5), samples=4)
    assert found.std.mean() > 1e-4 and found.std.max() <= 0.5
    assert not np.array_equal(found.mean, found.probability)


def test_the_deterministic_pass_is_not_touched_by_sampling():
    net = network()
    np.testing.assert_array_equal(run(net, 3).probability, run(net, 0).probability)


def test_seed_decides():
    net = network()
    torch.manual_seed(1)
    first = run(net, 3, seed=7)
    torch.manual_seed(2)
    again, other = run(net, 3, seed=7), run(net, 3, seed=8)
    np.testing.assert_array_equal(first.std, again.std)
    assert not np.array_equal(first.std, other.std)


def test_the_global_random_state_stays():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(network(), 2)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), before)
    net = network()
    before = torch.get_rng_state()
    run(net, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_dropout_is_random_and_batch_norm_keeps_its_statistics():
    net = network()
    buffers = {name: value.clone() for name, value in net.named_buffers()}
    image = torch.randn(2, 1, 16, 16)
    with torch.no_grad(), sampled_dropout(net, 0, 0, [0, 1]):
        sampled = net(image)
        assert not any(module.training for module in net.modules())
    with torch.no_grad():
        plain = net(image)
    assert not torch.allclose(sampled, plain)
    for name, value in net.named_buffers():
        assert torch.equal(value, buffers[name]), name
    with torch.no_grad():
        assert torch.equal(net(image), plain), "dropout stayed on"


def test_masks_have_the_rate_and_keep_the_mean():
    layer = nn.Dropout(0.3).eval()
    with sampled_dropout(layer, 3, 0, [0]):
        dropped = layer(torch.ones(1, 20, 100, 100))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert set(np.round(dropped.unique().tolist(), 4)) == {0.0, round(1 / 0.7, 4)}


def test_channel_dropout_drops_whole_channels():
    layer = nn.Dropout2d(0.5).eval()
    with sampled_dropout(layer, 3, 0, [0, 1]):
        dropped = layer(torch.ones(2, 64, 5, 5))
    assert set(dropped.mean(dim=(2, 3)).unique().tolist()) == {0.0, 2.0}


def test_masks_depend_on_sample_and_item_but_not_on_the_company():
    layer = nn.Dropout(0.5).eval()
    image = torch.ones(1, 4, 8, 8)

    def masks(sample: int, items: list[int]) -> torch.Tensor:
        with sampled_dropout(layer, 0, sample, items):
            return layer(image.repeat(len(items), 1, 1, 1))

    assert torch.equal(masks(0, [5, 9])[1], masks(0, [9])[0])
    assert not torch.equal(masks(0, [5])[0], masks(0, [9])[0])
    assert not torch.equal(masks(0, [5])[0], masks(1, [5])[0])


@pytest.mark.parametrize("name", ["lung_unet2d", "lung_unet2d_small"])
def test_shared_prefix_equals_whole_passes(name):
    """What is computed once gives the numbers of complete passes with the same masks."""
    torch.manual_seed(0)
    options = {"filters": 4, "head_channels": 4} if name == "lung_unet2d" else {}
    net = build_network(name, options).eval()
    images = np.random.default_rng(1).random((2, 1, 32, 32), dtype=np.float32)
    executor = Executor(net, Runtime(torch.device("cpu")), Reporter(), activation="sigmoid", batch=2)
    found = executor.run(images, [4, 7], samples=5, seed=2)
    passes = []
    with torch.no_grad():
        for sample in range(5):
            with sampled_dropout(net, 2, sample, [4, 7]):
                passes.append(torch.sigmoid(net(torch.from_numpy(images))).numpy())
    passes = np.stack(passes).astype(float)
    np.testing.assert_allclose(found.mean, passes.mean(axis=0), atol=2e-6)
    np.testing.assert_allclose(found.std, passes.std(axis=0), atol=2e-5)
    mean = passes.mean(axis=0)
    expected = -mean * np.log(mean) - (1 - mean) * np.log(1 - mean)
    np.testing.assert_allclose(found.entropy, expected, atol=2e-5)
    each = -passes * np.log(passes) - (1 - passes) * np.log(1 - passes)
    np.testing.assert_allclose(found.mutual_information, expected - each.mean(axis=0), atol=2e-5)
    assert passes.std(axis=0).max() > 1e-3


def test_spread_from_running_sums():
    values = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0))
    spread = RunningSpread(torch.full((2, 3), 0.5), "sigmoid")
    for value in values:
        spread.add(value)
    torch.testing.assert_close(spread.mean(), values.mean(dim=0))
    torch.testing.assert_close(spread.std(), values.std(dim=0, correction=0))


def test_spread_near_certainty_keeps_its_digits():
    """E[x^2] - E[x]^2 of raw probabilities would lose a spread of 1e-5 near 1 in float32."""
    values = 1 - 1e-5 * torch.arange(1, 5)
    spread = RunningSpread(torch.tensor(1.0), "sigmoid")
    for value in values:
        spread.add(value)
    assert spread.std().item() == pytest.approx(values.double().std(correction=0).item(), rel=0.01)


def test_entropy_in_nats():
    even = torch.tensor([[0.5], [0.0], [1.0]])
    assert entropy(even, "sigmoid").ravel().tolist() == pytest.approx([np.log(2), 0, 0])
    third = torch.full((1, 3, 2), 1 / 3)
    assert entropy(third, "softmax").ravel().tolist() == pytest.approx([np.log(3)] * 2)


def test_mutual_information_of_sigmoid_passes_by_hand():
    """Two passes that contradict each other with certainty: ln 2.  Two that are both undecided: nothing."""
    spread = RunningSpread(torch.tensor([[0.5], [0.5], [0.3]]), "sigmoid")
    spread.add(torch.tensor([[0.0], [0.5], [0.2]]))
    spread.add(torch.tensor([[1.0], [0.5], [0.4]]))
    h = {p: -p * np.log(p) - (1 - p) * np.log(1 - p) for p in (0.2, 0.3, 0.4)}
    expected = [np.log(2), 0, h[0.3] - (h[0.2] + h[0.4]) / 2]
    assert spread.mutual_information().ravel().tolist() == pytest.approx(expected, abs=1e-6)
    assert spread.entropy().ravel().tolist() == pytest.approx([np.log(2), np.log(2), h[0.3]], abs=1e-6)


def test_mutual_information_of_softmax_passes_by_hand():
    """Three classes (background first), each pass certain of another one: ln 3, in one layer."""
    spread = RunningSpread(torch.full((1, 3, 1), 1 / 3), "softmax")
    for number in range(3):
        spread.add(torch.eye(3)[number].reshape(1, 3, 1))
    assert spread.mutual_information().shape == (1, 1, 1)
    assert spread.mutual_information().item() == pytest.approx(np.log(3), abs=1e-6)
    same = RunningSpread(torch.full((1, 3, 1), 1 / 3), "softmax")
    same.add(torch.tensor([0.7, 0.2, 0.1]).reshape(1, 3, 1))
    assert same.mutual_information().item() == pytest.approx(0, abs=1e-6)


def test_foreground_entropy_counts_the_background_of_softmax():
    probability = np.array([[0.25], [0.25]], np.float32)
    both = -2 * 0.25 * np.log(0.25) - 0.5 * np.log(0.5)
    assert foreground_entropy(probability, "softmax").ravel().tolist() == pytest.approx([both])
    one = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    assert foreground_entropy(probability, "sigmoid").ravel().tolist() == pytest.approx([one, one])


def test_a_network_without_dropout_says_so():
    net = nn.Conv2d(1, 1, 1)
    net.dimensions, net.divisible_by, net.report_input = 2, 1, (1, 8, 8)
    with pytest.raises(ModelError, match="no dropout"):
        predict(
            net, np.zeros((1, 2, 8, 8), np.float32), SETTINGS, Runtime(torch.device("cpu")), Reporter(), 3
        )
