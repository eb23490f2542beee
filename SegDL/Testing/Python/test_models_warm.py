"""Networks that stay in memory from job to job: which are built again, and how much is kept."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.models.warm import WarmModels
from SegDLEngine.models.writing import write_package
from SegDLEngine.networks.registry import build_network
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from tiny_model import tiny_card


def write_ensemble(folder, folds=3, **changes):
    card = tiny_card(**changes)
    states = []
    for seed in range(folds):
        torch.manual_seed(seed)
        states.append(build_network(card["network"]["name"], card["network"]["options"]).state_dict())
    write_package(states, card, folder, licence_text="Apache-2.0\n")
    return folder


def weight_bytes(network):
    return sum(value.nbytes for value in network.state_dict().values())


@pytest.fixture
def ensemble(tmp_path):
    return write_ensemble(tmp_path / "ensemble")


@pytest.fixture
def one_network(ensemble):
    """Bytes of one of its networks."""
    return weight_bytes(WarmModels().get(str(ensemble)).build())


def networks(models, folder):
    return list(models.get(str(folder)).networks())


def same(first, second):
    """How many networks two jobs shared."""
    return sum(one is other for one, other in zip(first, second, strict=True))


def test_a_second_job_gets_the_networks_of_the_first(ensemble):
    models = WarmModels()
    first, second = networks(models, ensemble), networks(models, ensemble)
    assert same(first, second) == 3
    assert len({id(network) for network in first}) == 3


def test_jobs_with_warm_networks_give_the_same_result(ensemble):
    models = WarmModels()
    volume = np.random.default_rng(1).normal(0, 300, (6, 24, 24)).astype(np.int16)
    image = Image(volume, Grid((24, 24, 6), (1.0, 1.0, 2.0)), modality="CT", unit="HU")
    options = SegmentOptions(samples=2, device="cpu")
    maps = [segment({"CT": image}, models.get(str(ensemble)), options).maps["std"] for _ in range(2)]
    cold = segment({"CT": image}, str(ensemble), options).maps["std"]
    assert maps[0].array.max() > 0
    assert all((found.array == cold.array).all() for found in maps)


def test_a_replaced_package_is_built_anew(ensemble):
    models = WarmModels()
    first = networks(models, ensemble)
    write_ensemble(ensemble, version="1.1.0")
    os.utime(ensemble / "model.json", (1, 1))
    second = networks(models, ensemble)
    assert same(first, second) == 0
    assert models.held_bytes == sum(map(weight_bytes, second))


def test_networks_of_an_older_model_make_room(tmp_path, ensemble, one_network):
    other = write_ensemble(tmp_path / "other", folds=2, id="other-tumor")
    models = WarmModels(limit=4 * one_network)
    first, between = networks(models, ensemble), networks(models, other)
    assert same(between, networks(models, other)) == 2
    assert models.held_bytes <= 4 * one_network
    assert same(first, networks(models, ensemble)) == 2


def test_of_an_ensemble_beyond_the_limit_a_part_stays(ensemble, one_network):
    models = WarmModels(limit=2 * one_network)
    first, second = networks(models, ensemble), networks(models, ensemble)
    assert same(first, second) == 2
    assert models.held_bytes == 2 * one_network


def test_a_network_beyond_the_limit_is_not_kept(ensemble, one_network):
    models = WarmModels(limit=one_network - 1)
    assert same(networks(models, ensemble), networks(models, ensemble)) == 0
    assert models.held_bytes == 0
