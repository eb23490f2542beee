"""The way through, judged on a network that is a threshold: what it must find is known exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest
from SegDLEngine import pipeline, protocol
from SegDLEngine.errors import Cancelled, InputError, ModelError, SegDLError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.resampling import resample
from SegDLEngine.images.writing import write_image
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import STAGES, segment
from SegDLEngine.protocol import Reporter
from threshold_model import write_threshold_package

PLAIN = Grid((44, 40, 24), (1.5, 1.5, 3.0), (-33.0, -30.0, -36.0))
BALLS = [((-10.0, 4.0, -6.0), 11.0), ((16.0, -8.0, 9.0), 7.0)]
CPU = {"device": "cpu", "precision": "fp32"}


def oblique_grid() -> Grid:
    """A rotated, flipped grid with other voxels that covers the balls."""
    angle, tilt = np.deg2rad(17), np.deg2rad(-9)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    rotation @= np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    axes = rotation @ np.diag([-1.0, 1.0, -1.0])
    size, spacing = np.array((72, 60, 36)), np.array((1.2, 1.4, 2.2))
    origin = -(axes * spacing) @ ((size - 1) / 2)
    return Grid(tuple(size), tuple(spacing), tuple(origin), tuple(axes.ravel()))


def image_of_balls(grid: Grid, balls=BALLS, value: float = 100.0) -> Image:
    """Balls of ``value`` HU in air with a soft border that passes -450 HU at the radius."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), axis=-1)
    points = grid.to_physical(index.reshape(-1, 3))
    array = np.full(len(points), -1000.0, np.float32)
    for centre, radius in balls:
        distance = np.linalg.norm(points - centre, axis=1)
        array = np.maximum(array, -1000 + (value + 1000) * np.clip((radius + 2 - distance) / 4, 0, 1))
    return Image(array.reshape(grid.size).transpose(2, 1, 0).copy(), grid, "CT", "HU")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_threshold_package(tmp_path_factory.mktemp("model") / "threshold")


@pytest.fixture(scope="module")
def plain(model):
    return segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(**CPU))


def test_finds_the_balls_on_the_grid_of_the_input(plain):
    assert plain.labels.grid is not None and plain.labels.grid == PLAIN
    assert plain.labels.array.dtype == np.uint8 and set(np.unique(plain.labels.array)) == {0, 1}
    truth = image_of_balls(PLAIN).array >= -400
    assert dice(plain.labels.array > 0, truth) > 0.97
    assert set(plain.maps) == {"mean"}
    mean = plain.maps["mean"]
    assert mean.grid == PLAIN and mean.array.dtype == np.float32
    assert mean.array.min() >= 0 and mean.array.max() <= 1


def test_lesion_rows_tell_where_the_balls_are(plain):
    assert [row["component"] for row in plain.lesions] == [1, 2]
    for row, (centre, radius) in zip(plain.lesions, BALLS, strict=True):
        expected = 4 / 3 * np.pi * radius**3 / 1000
        assert row["volume_ml"] == pytest.approx(expected, rel=0.12)
        assert row["long_axis_mm"] == pytest.approx(2 * radius, abs=2.0)
        left, posterior, superior = centre
        assert row["centroid_ras"] == pytest.approx([-left, -posterior, superior], abs=0.4)
        assert row["maximum"] == pytest.approx(100, abs=1)
        assert row["mean_uncertainty"] is None
    assert plain.lesions[0]["name"] == "Label 0"


def test_an_oblique_flipped_copy_gives_the_same_place(model, plain):
    grid = oblique_grid()
    copy = segment({"CT": image_of_balls(grid)}, model, SegmentOptions(**CPU))
    np.testing.assert_allclose(copy.labels.grid.ijk_to_ras, grid.ijk_to_ras, atol=1e-6)
    truth = image_of_balls(grid)
    truth = truth.with_array((truth.array >= -400).astype(np.uint8))
    assert dice(copy.labels.array > 0, truth.array > 0) > 0.95
    # Two voxelisations of the very same balls agree this well; the segmentations must not be worse.
    best = dice(
        resample(truth, PLAIN, interpolation="nearest").array > 0, image_of_balls(PLAIN).array >= -400
    )
    back = resample(copy.labels, PLAIN, interpolation="nearest")
    assert dice(back.array > 0, plain.labels.array > 0) > best - 0.01
    for one, other in zip(copy.lesions, plain.lesions, strict=True):
        assert one["volume_ml"] == pytest.approx(other["volume_ml"], rel=0.1)
        assert one["centroid_ras"] == pytest.approx(other["centroid_ras"], abs=0.3)


def test_a_flipped_copy_gives_identical_voxels(model, plain):
    """Flipping the axes of the same scan changes neither lattice nor result."""
    last = np.asarray(PLAIN.size) - 1
    flipped = Grid(
        PLAIN.size, PLAIN.spacing, tuple(PLAIN.to_physical(last[None])[0]), tuple(-np.eye(3).ravel())
    )
    array = image_of_balls(PLAIN).array[::-1, ::-1, ::-1].copy()
    copy = segment({"CT": Image(array, flipped, "CT", "HU")}, model, SegmentOptions(**CPU))
    np.testing.assert_array_equal(copy.labels.array[::-1, ::-1, ::-1], plain.labels.array)


def test_provenance_names_model_steps_and_input(model, plain, tmp_path):
    path = write_image(image_of_balls(PLAIN), tmp_path / "ct.nrrd") or tmp_path / "ct.nrrd"
    result = segment({"CT": str(path)}, str(model), SegmentOptions(**CPU))
    np.testing.assert_array_equal(result.labels.array, plain.labels.array)
    provenance = result.provenance
    card = json.loads((model / "model.json").read_text())
    assert provenance["model"] == {
        "id": "threshold",
        "version": "1.0.0",
        "sha256": card["weights"]["sha256"],
    }
    assert provenance["device"] == "cpu" and provenance["precision"] == "fp32"
    assert provenance["steps"]["preprocessing"] == card["preprocessing"]
    assert provenance["samples"] == 0 and provenance["seed"] == 0
    assert provenance["inputs"]["CT"]["path"] == str(path)
    assert provenance["inputs"]["CT"]["size"] == list(PLAIN.size)
    assert provenance["inputs"]["CT"]["identity"] == plain.provenance["inputs"]["CT"]["identity"]
    assert provenance["time"].endswith("+00:00")
    protocol.encode(provenance)


def test_monte_carlo_adds_maps_and_keeps_the_labels(model, plain):
    options = SegmentOptions(samples=6, seed=5, **CPU)
    first = segment({"CT": image_of_balls(PLAIN)}, model, options)
    again = segment({"CT": image_of_balls(PLAIN)}, model, options)
    other = segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(samples=6, seed=6, **CPU))
    np.testing.assert_array_equal(first.labels.array, plain.labels.array)
    assert set(first.maps) == {"mean", "std", "entropy", "mutual_information", "probability"}
    np.testing.assert_array_equal(first.maps["probability"].array, plain.maps["mean"].array)
    std = first.maps["std"].array
    np.testing.assert_array_equal(std, again.maps["std"].array)
    assert not np.array_equal(std, other.maps["std"].array)
    assert 0.3 < std[plain.labels.array > 0].mean() <= 0.5 and std.max() <= 0.5 + 1e-6
    assert first.maps["entropy"].array.max() <= np.log(2) + 1e-5
    assert first.lesions[0]["mean_uncertainty"] == pytest.approx(std[first.labels.array > 0].mean(), abs=0.05)


def test_region_gives_the_same_as_the_whole_inside_and_nothing_outside(model, plain):
    # RAS box round the first ball, cutting it in two along the body's axis.
    region = (-2.0, 24.0, -17.0, 9.0, -20.0, -6.0)
    result = segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(roi=region, **CPU))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in PLAIN.size), indexing="ij"), axis=-1).reshape(-1, 3)
    ras = PLAIN.to_physical(index) * [-1, -1, 1]
    low, high = np.array(region[::2]), np.array(region[1::2])
    inside = np.all((ras >= low) & (ras <= high), axis=1).reshape(PLAIN.size).transpose(2, 1, 0)
    np.testing.assert_array_equal(result.labels.array, np.where(inside, plain.labels.array, 0))
    assert result.labels.array.any()
    mean = result.maps["mean"].array
    assert not mean[~inside].any()
    inner = inside & np.roll(inside, 1, 0) & np.roll(inside, -1, 0)
    np.testing.assert_allclose(mean[inner], plain.maps["mean"].array[inner], atol=1e-5)


def test_a_region_beside_the_image_is_refused(model):
    options = SegmentOptions(roi=(500, 600, 0, 10, 0, 10), **CPU)
    with pytest.raises(InputError, match="region of interest"):
        segment({"CT": image_of_balls(PLAIN)}, model, options)


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("Failed to allocate memory for image.")])
def test_a_lack_of_memory_is_told_as_such(model, monkeypatch, fault):
    """As NumPy and SimpleITK say it, wherever it happens."""

    def fail(*arguments, **named):
        raise fault

    monkeypatch.setattr(pipeline, "run_steps", fail)
    with pytest.raises(SegDLError, match="not enough memory") as caught:
        segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(**CPU))
    assert caught.value.code == "memory" and caught.value.exit_code == 1


def test_small_lesions_go_when_asked(model):
    result = segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(minimum_ml=3.0, **CPU))
    assert [row["component"] for row in result.lesions] == [1]
    assert result.provenance["steps"]["postprocessing"][0]["minimum_ml"] == 3.0


def test_threshold_option_moves_the_border(model, plain):
    strict = segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(threshold=0.999, **CPU))
    assert 0 < np.count_nonzero(strict.labels.array) < np.count_nonzero(plain.labels.array)


def test_several_labels(tmp_path):
    package = write_threshold_package(tmp_path / "two", slopes=(4.0, 20.0), levels=(0.5, 0.8))
    image = image_of_balls(PLAIN, BALLS[:1])
    result = segment({"CT": image}, package, SegmentOptions(**CPU))
    scaled = (image.array + 1000) / 1200
    expected = np.where(scaled >= 0.875, 11, np.where(scaled >= 0.5, 1, 0))
    assert set(np.unique(result.labels.array)) == {0, 1, 11}
    assert np.mean(result.labels.array == expected) > 0.99
    assert {row["label"] for row in result.lesions} == {1, 11}


def test_a_second_input_on_its_own_grid(tmp_path, plain):
    """Network: CT minus PET.  A PET that is 1 on the second ball removes it; without PET nothing changes."""
    inputs = [
        {"name": "CT", "modality": "CT", "unit": "HU", "required": True},
        {"name": "PET", "modality": "PT", "unit": "SUV", "required": False},
    ]
    steps = [
        {"step": "canonical", "spacing": [2.0, 2.0, 3.0], "outside": {"CT": -1000, "PET": 0}},
        {"step": "window", "low": -1000, "high": 200, "inputs": ["CT"]},
    ]
    package = write_threshold_package(tmp_path / "two", inputs=inputs, preprocessing=steps)
    ct, options = image_of_balls(PLAIN), SegmentOptions(**CPU)
    alone = segment({"CT": ct}, package, options)
    np.testing.assert_array_equal(alone.labels.array, plain.labels.array)
    uptake = image_of_balls(oblique_grid(), [(BALLS[1][0], 12.0)], value=0.0).array / 1000 + 1
    pet = Image(uptake, oblique_grid(), "PT", "SUV")
    both = segment({"PET": pet, "CT": ct}, package, options)
    assert both.labels.grid == PLAIN and list(both.provenance["inputs"]) == ["CT", "PET"]
    assert [row["centroid_ras"] for row in both.lesions] == [plain.lesions[0]["centroid_ras"]]


def test_a_mask_that_no_step_made_is_named(tmp_path):
    steps = [{"step": "inside_mask", "mask": "lungs"}]
    package = write_threshold_package(tmp_path / "masked", postprocessing=steps)
    with pytest.raises(ModelError, match="mask 'lungs'"):
        segment({"CT": image_of_balls(PLAIN)}, package, SegmentOptions(**CPU))


def test_progress_reaches_the_end_and_never_falls(model):
    events = []
    segment({"CT": image_of_balls(PLAIN)}, model, SegmentOptions(**CPU), Reporter(events.append))
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    stages = list(dict.fromkeys(event["stage"] for event in events if event["event"] == "progress"))
    assert stages == [name for name in STAGES if name != "writing"]
    plan = next(event for event in events if event["event"] == "plan")
    assert plan["device"] == "cpu" and plan["precision"] == "fp32"
    assert plan["memory_mb"] >= 0 and plan["seconds"] >= 0


def test_cancel_works_at_every_step(model):
    """However often the reporter was asked before, the next question stops the work."""
    asked = [0]

    def count() -> bool:
        asked[0] += 1
        return False

    image = image_of_balls(PLAIN)
    options = SegmentOptions(samples=1, **CPU)
    segment({"CT": image}, model, options, Reporter(cancelled=count))
    total = asked[0]
    assert total > 12
    for stop in range(1, total + 1, 3):
        left = [stop]

        def cancelled(left=left) -> bool:
            left[0] -= 1
            return left[0] <= 0

        with pytest.raises(Cancelled):
            segment({"CT": image}, model, options, Reporter(cancelled=cancelled))
        assert left[0] == 0, "nothing was asked after the cancel"


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ({}, "input 'CT' .* missing"),
        ({"CT": image_of_balls(PLAIN), "PET": image_of_balls(PLAIN)}, "no input 'PET'"),
        ({"CT": Image(image_of_balls(PLAIN).array, PLAIN, "MR", "")}, "MR"),
        ({"CT": image_of_balls(PLAIN).with_array(np.full(PLAIN.shape, 7.0, np.float32))}, "constant"),
        ({"CT": "absent.nrrd"}, "absent.nrrd"),
    ],
)
def test_a_case_that_cannot_be_used_says_why(model, case, text):
    with pytest.raises(InputError, match=text):
        segment(case, model, SegmentOptions(**CPU))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"preprocessing": [{"step": "magic"}]}, "magic"),
        ({"postprocessing": [{"step": "erode"}]}, "erode"),
        ({"postprocessing": [{"step": "components", "minimum": 3}]}, "minimum"),
        ({"inference": {"mode": "windows", "activation": "sigmoid", "threshold": 0.5}}, "windows"),
        (
            {
                "inference": {
                    "mode": "slices",
                    "context": [-1, 0, 1],
                    "activation": "sigmoid",
                    "threshold": 0.5,
                }
            },
            "channels",
        ),
        ({"preprocessing": [{"step": "zscore", "inputs": ["MR"]}]}, "no input 'MR'"),
    ],
)
def test_a_card_that_cannot_be_served_says_why(tmp_path, changes, text):
    package = write_threshold_package(tmp_path / "wrong", **changes)
    with pytest.raises(ModelError, match=text):
        segment({"CT": image_of_balls(PLAIN)}, package, SegmentOptions(**CPU))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples", -1),
        ("samples", True),
        ("device", "gpu"),
        ("precision", "fp8"),
        ("seed", 1.5),
        ("roi", (0, 1, 2, 3)),
        ("roi", (0, 1, 3, 2, 0, 1)),
        ("minimum_ml", -0.1),
        ("minimum_ml", float("nan")),
        ("threshold", 1.0),
        ("sample", 3),
    ],
)
def test_wrong_options_are_named(name, value):
    with pytest.raises(InputError, match=name):
        SegmentOptions.from_mapping({name: value})


def test_options_survive_json():
    options = SegmentOptions(samples=3, roi=(0, 1, 2, 3, 4, 5), minimum_ml=0.5)
    assert SegmentOptions.from_mapping(json.loads(json.dumps(options.as_mapping()))) == options
