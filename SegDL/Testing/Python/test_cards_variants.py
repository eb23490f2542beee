"""What else the cards promise: subsets of the sequences, folds, the same lattice for turned copies."""

from __future__ import annotations

import numpy as np
import pytest
from seeded_model import write_seeded_package
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from small_cards import small_brain, small_card, small_case, small_package

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = {"device": "cpu", "precision": "fp32"}
# Those that report 002 compares; the networks' tests have all fifteen.
SUBSETS = [("FLAIR",), ("T1",), ("FLAIR", "T1c"), ("FLAIR", "T1c", "T2")]


def subset_card(subset):
    """The multi-scale card for these sequences, as its description says that one makes it."""
    card = small_card("brain-tumor-multiscale-cnn3d")
    card["inputs"] = [entry for entry in card["inputs"] if entry["name"] in subset]
    card["network"]["options"]["in_channels"] = len(subset)
    for entry in card["preprocessing"]:
        entry.pop("input", None)
    return card


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_a_card_for_a_subset_of_the_sequences(subset, tmp_path):
    package = write_seeded_package(tmp_path / "model", subset_card(subset))
    brain = small_brain()
    result = segment({name: brain[name] for name in subset}, package, SegmentOptions(samples=0, **CPU))
    assert result.labels.grid == brain[subset[0]].grid
    assert np.isfinite(result.maps["mean"].array).all() and result.maps["mean"].array.max() > 0


def test_a_missing_sequence_is_named(tmp_path):
    package = small_package("brain-tumor-multiscale-cnn3d", tmp_path)
    case = small_case("brain-tumor-multiscale-cnn3d")
    del case["T1c"]
    with pytest.raises(InputError, match="'T1c' \\(MR\\) is missing"):
        segment(case, package, SegmentOptions(samples=0, **CPU))


def test_several_folds_predict_their_mean_and_spread(tmp_path):
    card = small_card("head-neck-tumor-se-resunet3d")
    case = small_case("head-neck-tumor-se-resunet3d")
    card["inference"]["uncertainty"] = "ensemble"
    both = write_seeded_package(tmp_path / "both", card, seed=1, folds=2)
    card["inference"]["uncertainty"] = "flip_tta"
    alone = SegmentOptions(samples=0, **CPU)
    first, second = (
        segment(case, write_seeded_package(tmp_path / f"{seed}", card, seed=seed), alone).maps["mean"].array
        for seed in (1, 2)
    )
    maps = segment(case, both, SegmentOptions(**CPU)).maps
    np.testing.assert_allclose(maps["mean"].array, (first + second) / 2, atol=2e-3)
    # On the way to the CT's grid the spread is interpolated, which can only make it larger than this.
    assert (maps["std"].array >= np.abs(first - second) / 2 - 2e-3).all()
    assert np.abs(first - second).max() > 0.01


def flipped(image: Image) -> Image:
    """The same image stored from the other end of every axis."""
    grid = image.grid
    last = grid.to_physical((np.asarray(grid.size) - 1)[None])[0]
    turned = Grid(grid.size, grid.spacing, tuple(last), tuple(-np.asarray(grid.direction)))
    return Image(image.array[::-1, ::-1, ::-1].copy(), turned, image.modality, image.unit)


@pytest.mark.parametrize("name", ["head-neck-tumor-baseline-unet3d", "brain-tumor-unet2d"])
def test_copies_stored_from_the_other_end_give_the_same_result(name, tmp_path):
    package, case = small_package(name, tmp_path), small_case(name)
    options = SegmentOptions(samples=0, **CPU)
    plain = segment(case, package, options)
    copy = segment({key: flipped(image) for key, image in case.items()}, package, options)
    np.testing.assert_allclose(copy.maps["mean"].array[::-1, ::-1, ::-1], plain.maps["mean"].array, atol=1e-3)
    np.testing.assert_array_equal(copy.labels.array[::-1, ::-1, ::-1], plain.labels.array)
