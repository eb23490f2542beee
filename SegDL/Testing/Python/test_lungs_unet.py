"""Lungs by the lungmask U-Net: its preparation of slices, its cleaning of labels, and the way through."""

import json

import numpy as np
import pytest
from lung_models import LUNGS, write_lungs_by_threshold
from lung_phantom import lung_phantom
from scipy import ndimage
from SegDLEngine.errors import Cancelled, ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.inference.body_boxes import BodyBoxes, find_body
from SegDLEngine.inference.label_cleaning import fill_holes, merge_small
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.options import SegmentOptions
from SegDLEngine.pipeline import segment
from SegDLEngine.preprocessing.lungs.mask_step import lung_mask
from SegDLEngine.preprocessing.lungs.methods import find_lungs
from SegDLEngine.preprocessing.lungs.unet import unet_lungs
from SegDLEngine.preprocessing.registry import PreparedCase
from SegDLEngine.protocol import Reporter

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def ct():
    whole = lung_phantom().ct
    return Image(whole.array[4:8], whole.grid.crop((0, 0, 4), (512, 512, 4)), "CT", "HU")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_lungs_by_threshold(tmp_path_factory.mktemp("models") / LUNGS)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


# the box of the body


def published_body(plane, level):
    """The body mask of lungmask in scipy's words."""
    body = ndimage.zoom(plane, 128 / np.asarray(plane.shape), order=0) > level
    body = ndimage.binary_fill_holes(ndimage.binary_closing(body), structure=np.ones((3, 3)))
    body, count = ndimage.label(ndimage.binary_erosion(body, iterations=2))
    if count:
        body = body == np.argmax(np.bincount(body.ravel())[1:]) + 1
        body = ndimage.binary_dilation(body, iterations=2)
    return ndimage.zoom(body.astype(np.uint8), np.asarray(plane.shape) / 128, order=0) > 0


@pytest.mark.parametrize("shape", [(512, 512), (300, 421), (100, 90)])
def test_the_body_is_that_of_lungmask(shape):
    noise = np.random.default_rng(shape[0]).normal(-700, 500, (16, 16))
    plane = ndimage.zoom(noise, np.asarray(shape) / 16, order=3)
    assert np.array_equal(find_body(plane, -500), published_body(plane, -500))


def test_a_slice_is_cropped_to_its_body_and_resized_corner_to_corner(ct):
    boxes = BodyBoxes.of({"level": 0.322968, "size": [256, 192]})
    prepared = ((ct.array[1].astype(np.float32) + 1024) / 1624).clip(0, 1)
    rows, columns = boxes.box(prepared)
    assert abs(rows.start - 126) <= 8 and abs(rows.stop - 387) <= 8
    assert abs(columns.start - 76) <= 8 and abs(columns.stop - 437) <= 8
    seen = boxes.shrink(prepared[None], (rows, columns))
    part = prepared[rows, columns]
    expected = ndimage.zoom(part, np.array([192, 256]) / part.shape, order=1)
    np.testing.assert_allclose(seen[0], expected, atol=1e-5)
    back = boxes.expand(seen, (rows, columns), (512, 512))[0]
    expected = ndimage.zoom(seen[0], np.asarray(part.shape) / [192, 256], order=0)
    assert np.array_equal(back[rows, columns], expected)
    assert back.sum() == pytest.approx(expected.sum())


def test_a_slice_without_a_body_is_taken_whole():
    boxes = BodyBoxes.of({"level": 0.5, "size": [8, 8]})
    assert boxes.box(np.zeros((40, 30))) == (slice(0, 40), slice(0, 30))
    assert BodyBoxes.of(None) is None


# cleaning


def cleaned(array, step):
    return step(Image(np.asarray(array, np.uint8), Grid(np.shape(array)[::-1])), {}).array


def test_a_small_part_joins_the_neighbour_that_it_touches_most():
    array = np.zeros((1, 12, 30), np.uint8)
    array[0, 2:10, 2:10] = 1
    array[0, 2:10, 12:20] = 2
    array[0, 3:9, 22:29] = 3
    array[0, 4:7, 10:12] = 3
    array[0, 4, 9] = 3
    merged = cleaned(array, merge_small)
    assert np.unique(merged[0, 4:7, 9:12]).tolist() == [1]
    assert np.array_equal(merged == 2, array == 2)
    assert merged[0, 3:9, 22:29].min() == 3


def test_a_part_in_the_background_stays_and_so_do_crumbs():
    array = np.zeros((2, 10, 20), np.uint8)
    array[:, 1:9, 1:9] = 1
    array[:, 3:5, 15:18] = 1
    array[0, 2, 2] = 2
    array[:, 4:8, 4:8] = 2
    merged = cleaned(array, merge_small)
    assert np.array_equal(merged, array)


def test_merged_parts_are_passed_on_until_they_reach_a_large_one():
    array = np.zeros((1, 6, 30), np.uint8)
    array[0, 1:5, 1:11] = 1
    array[0, 1:5, 11:13] = 2
    array[0, 1:5, 13:16] = 1
    array[0, 1:5, 20:29] = 2
    merged = cleaned(array, merge_small)
    assert (merged[0, 1:5, 1:16] == 1).all()
    assert (merged[0, 1:5, 20:29] == 2).all()


def test_holes_are_filled_in_the_volume_and_in_a_single_slice():
    array = np.zeros((5, 9, 9), np.uint8)
    array[1:4, 1:8, 1:8] = 2
    array[2, 3:5, 3:5] = 0
    array[1:4, 6, 6] = 0
    filled = cleaned(array, fill_holes)
    assert filled[2, 3:5, 3:5].all()
    assert not filled[1:4, 6, 6].any()
    assert cleaned(array[3:4], fill_holes)[0, 6, 6] == 2
    assert not cleaned(np.zeros((2, 3, 3)), fill_holes).any()


# the way through


def test_as_a_model_it_labels_what_its_network_sees_on_the_grid_of_the_ct(ct, package):
    result = segment({"CT": ct}, package, SegmentOptions(**CPU))
    phantom = lung_phantom()
    first = phantom.lungs[4:8].copy()
    first[:, :, 256:] = False
    assert dice(result.labels.array == 1, first) > 0.985
    bone = ct.array == 400
    assert dice(result.labels.array == 2, bone) > 0.97
    assert [row["name"] for row in result.lesions] == ["Right lung", "Left lung"]


def test_a_region_sees_the_same_body(ct, package):
    whole = segment({"CT": ct}, package, SegmentOptions(**CPU)).labels.array
    region = (-230.0, -100.0, -260.0, -220.0, 4.0, 8.0)
    part = segment({"CT": ct}, package, SegmentOptions(roi=region, **CPU)).labels.array
    assert np.array_equal(part[:, 220:261, 100:231], whole[:, 220:261, 100:231])
    assert not part[:, :, 240:].any()


def test_a_turned_copy_gives_the_same_lungs(ct, package):
    whole = segment({"CT": ct}, package, SegmentOptions(**CPU)).labels.array
    axes = np.array([[0, 0, -1.0], [0, -1, 0], [-1, 0, 0]])
    origin = ct.grid.to_physical(np.array([[511, 511, 3]]))[0]
    turned = Image(
        ct.array[::-1, ::-1, ::-1].transpose(2, 1, 0).copy(),
        Grid((4, 512, 512), (1.0, 1.0, 1.0), tuple(origin), tuple(axes.ravel())),
    )
    labels = segment({"CT": turned}, package, SegmentOptions(**CPU)).labels
    assert labels.grid == turned.grid
    assert np.array_equal(labels.array.transpose(2, 1, 0)[::-1, ::-1, ::-1], whole)


def test_as_a_mask_it_uses_an_installed_model(ct, package, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(package.parent))
    found = find_lungs(ct, "unet", device="cpu")
    assert set(np.unique(found.lungs.array)) == {0, 1, 2}
    assert np.array_equal(found.mask.array, found.lungs.array > 0)
    assert found.report["model"]["id"] == LUNGS
    case = lung_mask(PreparedCase({"CT": ct}, "CT", device="cpu"), method="unet", outside=0)
    assert np.array_equal(case.masks["lungs"].array, found.mask.array)
    inside = found.mask.array > 0
    assert np.array_equal(case.images["CT"].array, np.where(inside, ct.array, 0))


def test_missing_weights_are_named_with_the_remedy(ct, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match=LUNGS) as caught:
        find_lungs(ct, "unet")
    assert "segdl models" in caught.value.hint and "watershed" in caught.value.hint
    assert caught.value.code == "weights"
    with pytest.raises(ModelError, match="no-such-model"):
        find_lungs(ct, "unet", model="no-such-model")


def test_wrong_methods_and_constants_are_refused(ct):
    with pytest.raises(ModelError, match="magic"):
        find_lungs(ct, "magic")
    with pytest.raises(ModelError, match="air_hu"):
        find_lungs(ct, "unet", constants={"air_hu": -300})
    with pytest.raises(ModelError, match="air"):
        lung_mask(PreparedCase({"CT": ct}, "CT"), constants={"air": -300})


def test_a_cancel_reaches_the_network(ct, package):
    with pytest.raises(Cancelled):
        unet_lungs(ct, load_model(package), "cpu", Reporter(cancelled=lambda: True))


def test_without_lungs_nothing_is_masked_and_a_warning_says_so(ct):
    body = ct.with_array(np.where(ct.array < -400, 40, ct.array).astype(np.int16))
    case = lung_mask(PreparedCase({"CT": body}, "CT"), method="watershed")
    assert [item["code"] for item in case.reporter.warnings] == ["no_lungs"]
    assert np.array_equal(case.images["CT"].array, body.array)
    assert json.dumps(find_lungs(body, "watershed").report)
