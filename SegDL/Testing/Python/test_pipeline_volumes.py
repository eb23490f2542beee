"""The way through with volumes that are thin, small or on several grids, and with several labels."""

from __future__ import annotations

import numpy as np
import pytest
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image
from SegDLEngine.images.writing import write_image
from SegDLEngine.inference import restoring
from SegDLEngine.inference.restoring import restore_labels, restore_map
from SegDLEngine.models.writing import write_package
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.protocol import Reporter
from SegDLEngine.segment_job import run_segment_job
from test_pipeline import BALLS, CPU, PLAIN, dice, image_of_balls, oblique_grid
from threshold_model import (
    threshold_card,
    threshold_tensors,
    write_threshold_package,
    write_threshold_package_3d,
)

pytestmark = pytest.mark.usefixtures("one_thread")

WINDOW = [{"step": "window", "low": -1000, "high": 200}]
KEEP_ALL = [{"step": "components", "keep": "all"}]


def package(folder, mode, **changes):
    write = write_threshold_package if mode == "slices" else write_threshold_package_3d
    return write(folder, **{"preprocessing": WINDOW, "postprocessing": KEEP_ALL, **changes})


@pytest.mark.parametrize("mode", ["slices", "windows"])
@pytest.mark.parametrize("size", [(21, 17, 1), (5, 3, 2), (1, 1, 9)], ids=["one slice", "tiny", "one line"])
def test_volumes_smaller_than_patch_and_divisor(tmp_path, mode, size):
    """Windows are 16 x 16 x 8; slices are padded to even sides.  What is bright is found, voxel by voxel."""
    array = np.random.default_rng(1).choice([-900, 100], size[::-1]).astype(np.int16)
    image = Image(array, Grid(size, (1.0, 2.0, 3.0)), "CT", "HU")
    model = package(tmp_path / "model", mode)
    result = segment({"CT": image}, model, SegmentOptions(samples=2, **CPU))
    np.testing.assert_array_equal(result.labels.array > 0, array > -400)
    assert result.maps["std"].array.shape == array.shape


@pytest.mark.parametrize("mode", ["slices", "windows"])
def test_only_the_maps_that_are_wanted(tmp_path, mode):
    model, case = package(tmp_path / "model", mode), {"CT": image_of_balls(PLAIN)}
    options = SegmentOptions(samples=3, **CPU)
    every = segment(case, model, options)
    for wanted in (["entropy"], ["mutual_information", "mean"], []):
        found = segment(case, model, options, maps=wanted)
        assert set(found.maps) == {*wanted, "std"}
        for name, image in found.maps.items():
            np.testing.assert_array_equal(image.array, every.maps[name].array)
        np.testing.assert_array_equal(found.labels.array, every.labels.array)
        assert found.lesions == every.lesions


def test_a_job_makes_only_the_maps_of_its_files(tmp_path):
    write_image(image_of_balls(PLAIN), tmp_path / "ct.nrrd")
    outputs = {"labels": tmp_path / "l.nrrd", "mutual_information": tmp_path / "mi.nrrd"}
    model = package(tmp_path / "model", "slices")
    options = SegmentOptions(samples=3, **CPU)
    run_segment_job(model, {"CT": tmp_path / "ct.nrrd"}, options, outputs, Reporter())
    expected = segment({"CT": image_of_balls(PLAIN)}, model, options).maps["mutual_information"]
    found = read_image(tmp_path / "mi.nrrd")
    np.testing.assert_allclose(found.array, expected.array, atol=1e-6)
    assert 0 < found.array.max() <= np.log(2) + 1e-6


@pytest.mark.parametrize("target", [PLAIN, oblique_grid(), PLAIN.crop((-3, 2, -4), (60, 20, 44))])
def test_slabs_give_what_the_whole_volume_gives(monkeypatch, target):
    """Each slab is interpolated from its own part of the probabilities."""
    random = np.random.default_rng(2)
    probability = random.random((2, *PLAIN.shape), dtype=np.float32)
    before = random.integers(0, 3, PLAIN.shape).astype(np.uint8)
    after = np.where(random.random(PLAIN.shape) < 0.3, np.uint8(0), before)

    def restored():
        arguments = (PLAIN, target, (1, 2), 0.4, "sigmoid", Reporter())
        labels = restore_labels(probability, *arguments, (before, after)).array
        return labels, restore_map(probability[0], PLAIN, target, Reporter()).array

    monkeypatch.setattr(restoring, "_SLAB", 1000)
    whole = restored()
    monkeypatch.setattr(restoring, "_SLAB", 5)
    slabs = restored()
    assert (slabs[0] != whole[0]).mean() < 1e-4 and whole[0].any()
    np.testing.assert_allclose(slabs[1], whole[1], atol=1e-5)


def two_inputs():
    card = threshold_card()["inputs"]
    return [*card, {"name": "PET", "modality": "PT", "unit": "", "required": False}]


def test_inputs_on_other_grids_and_a_missing_optional_one(tmp_path):
    """The second input is subtracted: where the PET is bright, nothing is found; without it everything is."""
    steps = [
        {"step": "canonical", "spacing": [2.0, 2.0, 3.0], "outside": -1000},
        {"step": "to_reference"},
        {"step": "window", "low": -1000, "high": 200},
    ]
    model = write_threshold_package(tmp_path / "model", inputs=two_inputs(), preprocessing=steps)
    ct = image_of_balls(PLAIN)
    pet = image_of_balls(oblique_grid(), BALLS[:1])
    pet = Image(pet.array, pet.grid, "PT", "")
    alone = segment({"CT": ct}, model, SegmentOptions(**CPU))
    both = segment({"CT": ct, "PET": pet}, model, SegmentOptions(**CPU))
    assert alone.labels.grid == both.labels.grid == PLAIN
    assert len(alone.lesions) == 2 and len(both.lesions) == 1
    only_second = image_of_balls(PLAIN, BALLS[1:]).array >= -400
    assert dice(both.labels.array > 0, only_second) > 0.95
    assert dice(alone.labels.array > 0, ct.array >= -400) > 0.95
    turned = Image(ct.array[::-1, :, ::-1].copy(), flipped(PLAIN), "CT", "HU")
    again = segment({"CT": turned, "PET": pet}, model, SegmentOptions(**CPU))
    np.testing.assert_array_equal(again.labels.array[::-1, :, ::-1], both.labels.array)


def flipped(grid):
    """The grid with its i and k axes reversed."""
    corner = grid.to_physical(np.array([[grid.size[0] - 1, 0, grid.size[2] - 1]]))[0]
    return Grid(grid.size, grid.spacing, tuple(corner), (-1, 0, 0, 0, 1, 0, 0, 0, -1))


def test_softmax_classes_all_the_way(tmp_path):
    """Logits 0, 10 x - 4 and 30 x - 18 cross at 0.4 and 0.7: background, label 1 and label 11 by argmax."""
    inference = {**threshold_card()["inference"], "activation": "softmax"}
    model = write_softmax_package(tmp_path / "model", inference)
    values = np.array([-1000, -800, -560, -490, -190, -130, 0, 150], np.int16)
    array = np.zeros((3, 8, 16), np.int16) + np.repeat(values, 2)
    image = Image(array, Grid((16, 8, 3)), "CT", "HU")
    result = segment({"CT": image}, model, SegmentOptions(samples=2, **CPU))
    x = (np.repeat(values, 2).astype(float) + 1000) / 1200
    logits = np.stack([0 * x, 10 * x - 4, 30 * x - 18])
    classes = np.exp(logits) / np.exp(logits).sum(axis=0)
    expected = np.array([0, 1, 11])[classes.argmax(axis=0)]
    assert set(expected) == {0, 1, 11}
    np.testing.assert_array_equal(result.labels.array[1, 4], expected)
    assert {row["label"] for row in result.lesions} == {1, 11}
    assert {row["name"] for row in result.lesions} == {"Label 0", "Label 1"}
    np.testing.assert_allclose(result.maps["probability"].array[1, 4], 1 - classes[0], atol=2e-3)
    assert result.maps["entropy"].array.max() <= np.log(3) + 1e-5


def write_softmax_package(folder, inference):
    """Background logit 0 and those of two labels."""
    card = threshold_card(2, preprocessing=WINDOW, postprocessing=KEEP_ALL, inference=inference)
    card["network"]["options"]["out_channels"] = 3
    tensors = threshold_tensors(card, [0.0, 10.0, 30.0], [0.0, 0.4, 0.6])
    write_package([tensors], card, folder, licence_text="Apache-2.0\n")
    return folder


def test_lesions_of_each_label_of_several_sigmoid_outputs(tmp_path):
    """Label 1 from -400 HU on, label 11 likelier from about 40 HU on: each has its own lesions."""
    model = write_threshold_package(
        tmp_path / "model", (10.0, 100.0), (0.5, 0.85), preprocessing=WINDOW, postprocessing=KEEP_ALL
    )
    array = np.full((3, 12, 40), -900, np.int16)
    array[:, 2:6, 2:6] = -100
    array[:, 2:6, 20:24] = 150
    array[:, 8:10, 30:34] = 150
    result = segment({"CT": Image(array, Grid((40, 12, 3)), "CT", "HU")}, model, SegmentOptions(**CPU))
    expected = np.where(array == -100, 1, np.where(array == 150, 11, 0))
    np.testing.assert_array_equal(result.labels.array, expected)
    found = [(row["label"], row["component"], row["voxels"]) for row in result.lesions]
    assert sorted(found) == [(1, 1, 48), (11, 1, 48), (11, 2, 24)]


def test_uncertainty_is_highest_at_the_border(tmp_path):
    """A probability that falls smoothly from a ball's centre: members disagree where it crosses one half."""
    card = threshold_card(preprocessing=WINDOW, postprocessing=KEEP_ALL)
    card["inference"]["uncertainty"] = "ensemble"
    states = [threshold_tensors(card, [20.0], [level]) for level in (0.47, 0.5, 0.53)]
    write_package(states, card, tmp_path / "model", licence_text="Apache-2.0\n")
    j, i = np.mgrid[:32, :32] - 15.5
    distance = np.hypot(i, j)
    plane = (-400 + 60 * (9 - distance)).clip(-1000, 200)
    array = np.repeat(plane[None], 5, axis=0).astype(np.float32)
    image = Image(array, Grid((32, 32, 5), (1.0, 1.0, 2.0)), "CT", "HU")
    found = segment({"CT": image}, tmp_path / "model", SegmentOptions(samples=1, **CPU))
    border, far = np.abs(distance - 9) < 1, np.abs(distance - 9) > 5
    for name in ("std", "entropy", "mutual_information"):
        values = found.maps[name].array[2]
        assert border[np.unravel_index(values.argmax(), values.shape)], name
        assert values[border].mean() > 3 * values[far].mean(), name
