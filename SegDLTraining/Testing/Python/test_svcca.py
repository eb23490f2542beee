"""CCA, SVCCA and projection weighting: reference numbers of the specification, invariances, the command."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.svcca.activations import Points, convolution_layers, layer_grids, layer_points
from SegDLTrainingLib.svcca.similarity import (
    cca,
    leading_directions,
    mean_correlation,
    projection_weighted,
    svcca,
    white_directions,
)
from SegDLTrainingLib.svcca.study import Sampling, compare_networks, compare_training

TOLERANCE = 1e-6


def _example_b():
    state = np.random.RandomState(0)
    shared = state.randn(4, 500)
    first = state.randn(12, 4) @ shared + 0.1 * state.randn(12, 500)
    second = state.randn(9, 4) @ shared + 0.1 * state.randn(9, 500)
    return first, second, state


def _folded(maps: np.ndarray, points: Points) -> np.ndarray:
    values = np.empty((maps.shape[1], points.count))
    for number, each in enumerate(torch.from_numpy(maps)):
        points.put(number, each, values)
    return values


def test_example_a_of_the_specification():
    state = np.random.RandomState(0)
    result = cca(state.randn(10, 200), state.randn(8, 200))
    expected = [0.399149047, 0.3404619383, 0.2824509669, 0.2198080477]
    expected += [0.1647619791, 0.1247185396, 0.0504114639, 0.034164756]
    assert result.coefficients == pytest.approx(expected, abs=TOLERANCE)
    assert result.mean == pytest.approx(0.2019908423, abs=TOLERANCE)


def test_example_b_of_the_specification():
    first, second, _ = _example_b()
    result = cca(first, second)
    assert result.mean == pytest.approx(0.5137397243, abs=TOLERANCE)
    assert result.leading_mean() == pytest.approx(0.5709215792, abs=TOLERANCE)
    squared = svcca(first, second)
    assert squared.coefficients == pytest.approx(
        [0.999465563, 0.9981431993, 0.9976780821, 0.9962485947], abs=TOLERANCE
    )
    assert squared.mean == pytest.approx(0.9978838598, abs=TOLERANCE)
    by_sum = svcca(first, second, squared=False)
    assert [len(leading_directions(layer, squared=False)) for layer in (first, second)] == [11, 8]
    assert by_sum.mean == pytest.approx(0.5610427650, abs=TOLERANCE)
    assert by_sum.leading_mean() == pytest.approx(0.6316765829, abs=TOLERANCE)


def test_projection_weighting_as_the_authors_code_and_as_the_paper():
    first, second, _ = _example_b()
    assert projection_weighted(second, first, whitened=False) == pytest.approx(0.9521979958, abs=TOLERANCE)
    paper = projection_weighted(second, first)
    assert cca(second, first).mean < paper < 1


def test_a_linear_map_of_a_layer_is_the_same_representation():
    first, _, state = _example_b()
    mapped = state.randn(12, 12) @ first + 3
    assert cca(first, mapped).mean == pytest.approx(0.9999997146, abs=TOLERANCE)


def test_example_c_of_the_specification_folds_maps_into_points():
    state = np.random.RandomState(0)
    maps = state.randn(6, 5, 16, 16)
    mixing = state.randn(7, 5)
    mixed = np.einsum("oc,nchw->nohw", mixing, maps) + 0.5 * state.randn(6, 7, 16, 16)
    points = Points(6, (16, 16))
    first, second = _folded(maps, points), _folded(mixed, points)
    assert first.shape == (5, 1536)
    assert second.shape == (7, 1536)
    expected = [0.9912456167, 0.9796604246, 0.9547382798, 0.902033937, 0.7422670967]
    assert cca(first, second).coefficients == pytest.approx(expected, abs=TOLERANCE)
    assert [len(leading_directions(layer)) for layer in (first, second)] == [5, 6]
    assert svcca(first, second).mean == pytest.approx(0.9139462329, abs=TOLERANCE)


def test_one_channel_is_the_pearson_correlation():
    state = np.random.RandomState(3)
    first = state.randn(1, 300)
    second = -0.4 * first + state.randn(1, 300)
    assert cca(first, second).mean == pytest.approx(
        abs(np.corrcoef(first[0], second[0])[0, 1]), abs=TOLERANCE
    )


def test_a_finer_map_is_averaged_to_the_coarser_grid():
    fine = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    coarse = torch.nn.functional.avg_pool2d(torch.from_numpy(fine), 2).numpy()
    points = Points(2, (4, 4))
    assert np.allclose(_folded(fine, points), _folded(coarse, points))


def test_points_follow_from_the_seed_and_are_alike_in_all_layers():
    maps = np.random.default_rng(0).normal(size=(5, 3, 20, 20))
    values = _folded(maps, Points(5, (20, 20), most=100, seed=1))
    assert values.shape == (3, 100)
    assert np.allclose(2 * values, _folded(2 * maps, Points(5, (20, 20), most=100, seed=1)))
    assert not np.array_equal(values, _folded(maps, Points(5, (20, 20), most=100, seed=2)))
    every = maps.transpose(1, 0, 2, 3).reshape(3, -1)
    columns = [np.flatnonzero((every == value[:, None]).all(axis=0)) for value in values.T]
    assert len({int(column[0]) for column in columns}) == 100, "no voxel is taken twice"


def test_layers_decomposed_once_are_as_alike_as_pair_by_pair():
    first, second, _ = _example_b()
    for squared in (True, False):
        white = [white_directions(layer, squared=squared) for layer in (first, second)]
        assert mean_correlation(*white) == pytest.approx(
            svcca(first, second, squared=squared).mean, abs=1e-12
        )


@pytest.mark.parametrize(
    "layers, word",
    [
        ((np.ones((3, 10)), np.ones((3, 11))), "shapes"),
        ((np.ones((9, 5)), np.ones((3, 5))), "too few"),
        ((np.full((2, 9), np.nan), np.ones((2, 9))), "finite"),
    ],
)
def test_unusable_activations_are_refused(layers, word):
    with pytest.raises(InputError, match=word):
        cca(*layers)


def _tiny() -> torch.nn.Module:
    return build_network("unet3d_69k", {})


def test_a_network_is_like_itself_on_the_diagonal():
    torch.manual_seed(0)
    network = _tiny()
    images = torch.randn(2, *network.report_input[:1], 16, 16, 16)
    result = compare_networks(network, network, images, Reporter())
    assert result.rows == result.columns == convolution_layers(network)
    assert np.nanmin(np.diagonal(result.values)) > 0.999


def test_training_ends_at_full_similarity_and_weights_are_left_as_they_were():
    torch.manual_seed(0)
    network = _tiny()
    final = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    early = {name: tensor.clone() for name, tensor in final.items()}
    for tensor in early.values():
        if tensor.is_floating_point():
            tensor.add_(0.3 * torch.rand_like(tensor))
    images = torch.randn(2, *network.report_input[:1], 16, 16, 16)
    stages = {"1": lambda: early, "2": lambda: final}
    result = compare_training(network, stages, final, images, Reporter())
    assert np.nanmin(result.values[:, 1]) > 0.999
    assert np.nanmean(result.values[:, 0]) < 0.99
    assert all(torch.equal(tensor, final[name]) for name, tensor in network.state_dict().items())


def test_an_unknown_layer_is_named():
    with pytest.raises(InputError, match="'nowhere'"):
        layer_grids(_tiny(), torch.zeros(1, 1, 16, 16, 16), ["nowhere"])


def test_layers_of_other_grids_are_compared_on_the_coarser_one():
    torch.manual_seed(0)
    network = _tiny()
    images = torch.randn(3, *network.report_input[:1], 16, 16, 16)
    grids = layer_grids(network, images)
    fine = next(name for name, grid in grids.items() if grid == (16, 16, 16))
    coarse = next(name for name, grid in grids.items() if grid == (4, 4, 4))
    result = compare_networks(network, network, images, Reporter())
    points = Points(3, (4, 4, 4))
    found = layer_points(network, images, {fine: points, coarse: points})
    expected = svcca(found[fine].astype(float), found[coarse].astype(float)).mean
    assert result.values[result.rows.index(fine), result.columns.index(coarse)] == pytest.approx(expected)


def test_too_few_points_for_the_channels_are_told_once():
    torch.manual_seed(0)
    network, heard = _tiny(), []
    images = torch.randn(1, *network.report_input[:1], 16, 16, 16)
    reporter = Reporter(heard.append)
    compare_networks(network, network, images, reporter, Sampling(points=60))
    warnings = [event for event in heard if event["event"] == "warning"]
    assert len(warnings) == 1 and "fewer than 5 points for each channel" in warnings[0]["text"]


def test_the_command_writes_a_table_of_two_models(tmp_path, monkeypatch):
    from SegDLEngine import Image, write_image
    from SegDLEngine.images.grid import Grid
    from SegDLTrainingLib.command_line import main
    from tiny_model import write_tiny_package

    package = write_tiny_package(tmp_path / "tiny")
    ct = Image(np.random.default_rng(0).normal(0, 200, (6, 40, 40)).astype(np.float32), Grid((40, 40, 6)))
    write_image(ct, tmp_path / "ct.nrrd")
    arguments = ["--model", str(package), "--other", str(package), "--case", f"CT={tmp_path / 'ct.nrrd'}"]
    assert main(["svcca", "--progress", "none", *arguments, "--output", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "svcca.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == [row[0] for row in rows[1:]]
    diagonal = [float(row[1 + number]) for number, row in enumerate(rows[1:])]
    assert np.nanmin(diagonal) > 0.999
