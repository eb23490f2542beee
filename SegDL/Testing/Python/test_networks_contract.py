"""Every registered network and variant keeps what its properties promise to the inference."""

from __future__ import annotations

import json

import pytest
import torch
from SegDLEngine.networks.registry import NETWORKS, build_empty
from torch import nn

VARIANTS = [(name, options) for name, entry in NETWORKS.items() for options in entry.variants]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda value: json.dumps(value))
def test_the_report_s_input_fits_and_the_output_lacks_the_margin(name, options):
    network = build_empty(name, options, "meta").eval()
    channels, *sides = network.report_input
    assert len(sides) == network.dimensions
    assert all(side % network.divisible_by == network.remainder for side in sides)
    with torch.device("meta"):
        logits = network(torch.empty(1, channels, *sides))
    assert list(logits.shape[2:]) == [side - 2 * network.margin for side in sides]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda value: json.dumps(value))
def test_dropout_layers_are_all_and_only_the_dropout_modules(name, options):
    network = build_empty(name, options, "meta")
    dropout = [key for key, module in network.named_modules() if "Dropout" in type(module).__name__]
    assert list(network.dropout_layers) == dropout


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda value: json.dumps(value))
def test_empty_networks_have_the_weights_of_initialised_ones(name, options):
    """What a model file is loaded into: the same names, all of them parameters or buffers."""
    network = build_empty(name, options, "meta")
    assert all(value.is_meta for value in network.state_dict().values())
    norms = nn.modules.batchnorm._BatchNorm
    assert all(module.track_running_stats for module in network.modules() if isinstance(module, norms))
