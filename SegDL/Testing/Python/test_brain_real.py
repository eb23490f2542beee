"""The brain demonstrations on real MRI: tumours found, segments coded, uncertainty at the border."""

import edt
import numpy as np
import pytest
from realdata import real_file
from SegDLEngine import load_model, read_image, segment
from SegDLEngine.errors import InputError
from SegDLEngine.images.resampling import canonical_grid, resample
from SegDLEngine.images.segmentation_file import read_segmentation, terminology_string, write_segmentation
from SegDLEngine.options import SegmentOptions

pytestmark = pytest.mark.real_data

TCGA = {"FLAIR": "fla.nii.gz", "T1": "t1.nii.gz", "T1c": "t1c.nii.gz", "T2": "t2.nii.gz"}
BRATS_2013 = {"FLAIR": "Flair_subtrMeanDivStd.nii.gz", "T1c": "T1c_subtrMeanDivStd.nii.gz"}

# Least Dice of the whole tumour: what the cards report, less some slack.
LEAST_DICE = {
    "brain-tumor-multiscale-cnn3d-demo": 0.70,
    "brain-tumor-res-unet2d-demo": 0.64,
    "brain-tumor-unet3d-69k-demo": 0.58,
}
LEAST_DICE_OF_TWO_SEQUENCES = 0.85
MULTISCALE = "brain-tumor-multiscale-cnn3d-demo"


def image(case, file):
    """Every other voxel: 2 mm, the grid of these models, so that the tests are not slow."""
    full = read_image(real_file("brain", case, file), modality="MR")
    grid = canonical_grid(full.grid, (2.0, 2.0, 2.0))
    return resample(full, grid, interpolation="nearest", outside=float(full.array[0, 0, 0]))


def images(case, files):
    return {name: image(case, file) for name, file in files.items()}


def truth(case, file):
    return np.rint(image(case, file).array).astype(np.uint8)


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.fixture(scope="module", params=LEAST_DICE)
def tcga(request):
    samples = None if request.param == MULTISCALE else 6
    result = segment(images("TCGA-FG-6692", TCGA), request.param, SegmentOptions(samples=samples))
    return request.param, result


def test_the_whole_tumour_is_found(tcga):
    model, result = tcga
    reference = truth("TCGA-FG-6692", "seg_fusion_mav.nii.gz") > 0
    assert dice(result.labels.array > 0, reference) > LEAST_DICE[model]


def test_segments_have_the_names_and_codes_of_the_card(tcga, tmp_path):
    model, result = tcga
    card = load_model(model).card
    path = write_segmentation(result.labels, card.labels, tmp_path / "tumour.seg.nrrd")
    found = read_segmentation(path)
    assert [segment["name"] for segment in found.segments] == [label["name"] for label in card.labels]
    for segment_read, label in zip(found.segments, card.labels, strict=True):
        assert terminology_string(segment_read["terminology"]) == terminology_string(label["terminology"])
    assert set(np.unique(result.labels.array)) <= {0, *(label["value"] for label in card.labels)}


def test_uncertainty_is_highest_at_the_border_of_the_mask(tcga):
    """Inside a tumour of four classes the border between two classes is never far: there, only outside."""
    model, result = tcga
    mask, spread = result.labels.array > 0, result.maps["std"].array
    inward, outward = edt.edt(mask, anisotropy=(2, 2, 2)), edt.edt(~mask, anisotropy=(2, 2, 2))
    brain = image("TCGA-FG-6692", "fla.nii.gz").array != 0
    border = spread[(inward <= 2) & (outward <= 2)].mean()
    assert border > 5 * spread[brain & (outward > 12)].mean()
    if model != MULTISCALE:
        assert border > 2 * spread[inward > 6].mean()


def test_two_sequences_are_enough_for_a_network_that_has_seen_gaps():
    case = "brats_2013_pat0001_1"
    result = segment(images(case, BRATS_2013), MULTISCALE, SegmentOptions(samples=0))
    reference = truth(case, "OTMultiClass.nii.gz")
    assert dice(result.labels.array > 0, reference > 0) > LEAST_DICE_OF_TWO_SEQUENCES


def test_a_missing_flair_is_named():
    given = images("TCGA-FG-6692", {"T1": "t1.nii.gz"})
    with pytest.raises(InputError, match="'FLAIR'"):
        segment(given, MULTISCALE)
