"""Cards on real images: prepared as the card says, and the way back with a small network."""

from __future__ import annotations

import json

import numpy as np
import pytest
from realdata import real_file
from SegDLEngine.command_line.main import main
from SegDLEngine.images.cropping import crop
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.segmentation_file import read_segmentation
from SegDLEngine.models.card import load_card
from SegDLEngine.models.catalogue import SHIPPED_FOLDER
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.preprocessing.registry import PreparedCase, run_steps
from small_cards import small_package

pytestmark = [pytest.mark.real_data, pytest.mark.usefixtures("one_thread")]

CPU = {"device": "cpu", "precision": "fp32", "samples": 0}
SEQUENCES = {"T1": "t1", "T1c": "t1c", "T2": "t2", "FLAIR": "fla"}


@pytest.fixture(scope="module")
def brain():
    folder = real_file("brain", "TCGA-FG-6692")
    return {name: read_image(folder / f"{file}.nii.gz", modality="MR") for name, file in SEQUENCES.items()}


@pytest.fixture(scope="module")
def pet_ct():
    folder = real_file("petct", "STS_003")
    return {
        "CT": read_image(folder / "CT_image.nii.gz", modality="CT", unit="HU"),
        "PET": read_image(folder / "PET_image.nii.gz", modality="PT", unit="SUV"),
    }


def prepared(name: str, images: dict[str, Image], **how) -> np.ndarray:
    """The channels (C, k, j, i) that the network of the card ``name`` would see, at full size."""
    card = load_card(SHIPPED_FOLDER / name)
    ordered = {key: images[key] for key in card.input_names}
    steps = [entry for entry in card.preprocessing if entry["step"] != "correct_bias_field"]
    return run_steps(PreparedCase(ordered, card.reference, **how), steps).channels(card.input_names)


def region_round(labels: Image, side: float = 40.0) -> tuple[float, ...]:
    """A box of ``side`` mm round the labels' centre, RAS."""
    index = np.argwhere(labels.array != 0).mean(axis=0)[::-1]
    left, posterior, superior = labels.grid.to_physical(index[None])[0]
    half = side / 2
    centre = (-left, -posterior, superior)
    return tuple(value for middle in centre for value in (middle - half, middle + half))


def test_pet_and_ct_are_prepared_as_the_report_says(pet_ct):
    tumour = read_labels(real_file("petct", "STS_003", "CT_mask.nii.gz"))
    ct, pet = prepared("head-neck-tumor-se-resunet3d", pet_ct, region=region_round(tumour))
    assert ct.shape == pet.shape == (144, 144, 144)
    assert ct.min() >= -1 and ct.max() <= 1 and np.median(ct) == pytest.approx(0, abs=0.2)
    assert abs(pet.mean()) < 1e-3 and pet.std() == pytest.approx(1, abs=0.01)


def test_labels_of_pet_ct_lie_on_the_grid_of_the_ct(pet_ct, tmp_path):
    package = small_package("head-neck-tumor-se-resunet3d", tmp_path)
    tumour = read_labels(real_file("petct", "STS_003", "CT_mask.nii.gz"))
    region = region_round(tumour, 24)
    result = segment(pet_ct, package, SegmentOptions(roi=region, **CPU))
    assert result.labels.grid == pet_ct["CT"].grid
    assert result.maps["mean"].array.max() > 0
    index = np.argwhere(result.maps["mean"].array > 0)[:, ::-1]
    points = pet_ct["CT"].grid.to_physical(index) * [-1, -1, 1]
    low, high = np.array(region[::2]), np.array(region[1::2])
    assert (points >= low - 1e-3).all() and (points <= high + 1e-3).all()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("brain-tumor-multiscale-cnn3d", (4, 128, 160, 144)),
        ("brain-tumor-unet3d-69k", (4, 96, 96, 96)),
        ("brain-tumor-res-unet2d", (4, 24, 64, 64)),
    ],
)
def test_brain_is_prepared_at_the_report_s_size(brain, name, shape):
    if name.endswith("2d"):
        brain = {key: crop(image, (0, 0, 70), (*image.grid.size[:2], 24)) for key, image in brain.items()}
    channels = prepared(name, brain)
    assert channels.shape == shape and np.isfinite(channels).all()
    if name.endswith("res-unet2d"):
        assert channels.min() >= -0.3 and 0.9 < channels.max() < 1.6
    elif name.endswith("cnn3d"):
        assert np.abs(channels.mean(axis=(1, 2, 3))).max() < 1e-3
        assert channels.std(axis=(1, 2, 3)) == pytest.approx(np.ones(4), abs=1e-3)


def test_slices_of_the_brain_alone_reach_the_unpadded_networks(brain):
    channels = prepared("brain-tumor-unet2d", brain)
    assert min(channels.shape[1:]) > 100 and channels.shape[2] < 240 and channels.shape[3] < 240
    background = (channels == 0).all(axis=0)
    assert 0.2 < background.mean() < 0.8
    assert channels[:, ~background].std(axis=1) == pytest.approx(np.ones(4), abs=0.02)


@pytest.mark.parametrize("name", ["brain-tumor-multiscale-cnn3d", "brain-tumor-unet3d-69k"])
def test_brain_labels_lie_on_the_first_sequence(brain, name, tmp_path):
    images = {key: image.with_array(image.array) for key, image in brain.items()}
    result = segment(images, small_package(name, tmp_path), SegmentOptions(**CPU))
    assert result.labels.grid == next(iter(brain.values())).grid
    assert np.isfinite(result.maps["mean"].array).all()


def test_bones_of_a_real_hand_come_back_to_its_grid(tmp_path):
    hand = read_image(real_file("hand", "STS_019", "mr_t1.nii.gz"), modality="MR")
    result = segment(
        {"MR": hand}, small_package("hand-bone-multiscale-cnn3d", tmp_path), SegmentOptions(**CPU)
    )
    assert result.labels.grid == hand.grid


@pytest.fixture
def dicom_job(tmp_path):
    """The arguments of a job on the CT and PET series; ``PET`` can be another folder."""
    folder = real_file("dicom", "STS_025")
    package = small_package("head-neck-tumor-baseline-unet3d", tmp_path)
    ct = read_image(folder / "CT" / "image", modality="CT", unit="HU")
    middle = ct.grid.corners().mean(axis=0) * [-1, -1, 1]
    box = ",".join(f"{value:.2f}" for value in [*(middle - 12), *(middle + 12)])

    def arguments(pet="PET"):
        inputs = (f"CT={folder / 'CT' / 'image'}", f"PET={folder / pet / 'image'}")
        job = ["segment", "--model", str(package), "--samples", "0", "--device", "cpu", f"--roi={box}"]
        job += [part for text in inputs for part in ("--input", text)]
        return [*job, "--report", str(tmp_path / "r.json"), "--output", str(tmp_path / "found.seg.nrrd")]

    return arguments, ct.grid, tmp_path


def test_dicom_series_on_the_command_line(dicom_job):
    """PET series in SUV (GML by body weight) and CT series, on different grids."""
    arguments, grid, folder = dicom_job
    assert main(arguments()) == 0
    found = read_segmentation(folder / "found.seg.nrrd")
    np.testing.assert_allclose(found.labels.grid.ijk_to_ras, grid.ijk_to_ras, atol=1e-4)
    assert [entry["name"] for entry in found.segments] == ["Head and neck tumour"]
    report = json.loads((folder / "r.json").read_text())
    assert report["provenance"]["inputs"]["PET"]["size"] != list(grid.size)
    assert report["warnings"] == []


def test_another_modality_in_the_place_of_the_pet_is_refused(dicom_job, capsys):
    arguments, _, folder = dicom_job
    assert main(arguments(pet="MR_T1")) == 2
    assert "is MR, the model expects PT" in capsys.readouterr().err
    assert not (folder / "found.seg.nrrd").exists()
