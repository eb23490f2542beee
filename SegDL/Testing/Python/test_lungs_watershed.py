"""Watershed lungs: the published figures on the phantom, and the fast forms against the slow ones."""

import numpy as np
import pytest
from lung_phantom import lung_phantom
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.lungs.orientation import PatientOrder
from SegDLEngine.preprocessing.lungs.planes import close_by_rows, outline
from SegDLEngine.preprocessing.lungs.watershed import (
    city_block,
    flood,
    gradient,
    inner_marker,
    octagon,
    square,
    watershed_lungs,
)
from SegDLEngine.preprocessing.orientation import patient_order
from SegDLEngine.preprocessing.registry import PreparedCase

MM = (1.0, 1.0)


@pytest.fixture(scope="module")
def phantom():
    return lung_phantom()


@pytest.fixture(scope="module")
def found(phantom):
    return watershed_lungs(phantom.ct)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize(("z", "voxels"), [(0, 15366), (11, 30666)])
def test_the_flooded_region_is_exactly_the_lungs(phantom, z, voxels):
    plane = phantom.ct.array[z]
    region = flood(plane, inner_marker(plane < -400), MM, 10.0)
    assert np.count_nonzero(region) == voxels
    assert np.array_equal(region, phantom.lungs[z])


@pytest.mark.parametrize(("z", "voxels", "overlap"), [(0, 16198, 0.974), (11, 33514, 0.956)])
def test_the_final_filter_has_the_published_figures(phantom, found, z, voxels, overlap):
    mask = found.mask.array[z] > 0
    assert np.count_nonzero(mask) == voxels
    assert dice(mask, phantom.lungs[z]) == pytest.approx(overlap, abs=5e-4)


def test_the_published_operations_give_the_same_slice(phantom, found):
    """Dilations by repetition, the marker that ends at 55 pixels, magnitude 0..255, 49x49 black top-hat."""
    ndimage = pytest.importorskip("scipy.ndimage")
    sitk = pytest.importorskip("SimpleITK")
    plane = phantom.ct.array[11]
    inner = inner_marker(plane < -400)
    near, far = (ndimage.binary_dilation(inner, iterations=count) for count in (10, 55))
    markers = (inner * 255 + (far ^ near) * 128).astype(np.uint8)
    slopes = [ndimage.sobel(plane.astype(float), axis) for axis in (1, 0)]
    magnitude = np.hypot(*slopes)
    magnitude *= 255 / magnitude.max()
    images = [sitk.GetImageFromArray(array) for array in (magnitude, markers)]
    labels = sitk.GetArrayFromImage(
        sitk.MorphologicalWatershedFromMarkers(*images, markWatershedLine=False, fullyConnected=False)
    )
    rim = ndimage.morphological_gradient(labels, size=(3, 3)).astype(bool)
    disc = np.array([[abs(j) + abs(i) <= 4 for i in range(-3, 4)] for j in range(-3, 4)])
    rim |= ndimage.black_tophat(rim, structure=ndimage.iterate_structure(disc, 8))
    closed = ndimage.binary_closing(inner | rim, structure=np.ones((5, 5)), iterations=3)
    assert np.array_equal(closed, found.mask.array[11] > 0)
    assert np.array_equal(gradient(plane), np.rint(slopes[0] ** 2 + slopes[1] ** 2))


def test_the_distance_is_the_number_of_dilations_by_the_cross():
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = np.random.default_rng(2).random((70, 90)) < 0.003
    for count in (1, 10, 55):
        assert np.array_equal(city_block(mask, MM) <= count, ndimage.binary_dilation(mask, iterations=count))
    assert city_block(mask, (2.0, 0.5)).min() == 0
    assert city_block(np.eye(1, 5, dtype=bool), (1.0, 0.5))[0].tolist() == [0, 0.5, 1, 1.5, 2]


def test_the_octagon_is_the_disc_of_seven_dilated_by_itself():
    reached = np.zeros((1, 61, 61), bool)
    reached[0, 30, 30] = True
    steps = [(j, i) for j in range(-3, 4) for i in range(-3, 4) if abs(j) + abs(i) <= 4]
    for _ in range(8):
        reached = np.any([np.roll(reached, step, (1, 2)) for step in steps], axis=0)
    widths = octagon(MM, 24.0, 32.0)
    rows = [np.flatnonzero(reached[0, 30 + row]) for row in range(25)]
    assert widths == [int(row[-1]) - 30 for row in rows]
    assert not reached[0, 55].any()
    assert square((2.0, 1.0), 6.0) == [6, 6, 6, 6]


def test_closing_by_the_octagon_is_dilation_then_erosion():
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = np.zeros((2, 120, 130), bool)
    mask[:, 50:70, 50:80] = np.random.default_rng(3).random((2, 20, 30)) < 0.02
    disc = np.array([[abs(j) + abs(i) <= 4 for i in range(-3, 4)] for j in range(-3, 4)])
    shape = ndimage.iterate_structure(disc, 8)
    expected = [ndimage.binary_closing(plane, shape) for plane in mask]
    assert np.array_equal(close_by_rows(mask, octagon(MM, 24.0, 32.0)), expected)


def test_the_outline_has_a_pixel_on_either_side_and_none_at_the_edge_of_the_image():
    mask = np.zeros((1, 6, 8), bool)
    mask[0, :, :4] = True
    assert np.array_equal(np.flatnonzero(outline(mask)[0].any(axis=0)), [3, 4])
    assert not outline(np.ones((1, 4, 4), bool)).any()


def test_pixels_of_another_size_give_the_same_lungs_in_millimetres(phantom, found):
    coarse = Image(
        np.ascontiguousarray(phantom.ct.array[:, ::2, ::2]), Grid((256, 256, 12), (2.0, 2.0, 1.0)), "CT", "HU"
    )
    mask = watershed_lungs(coarse).mask.array > 0
    assert dice(mask, found.mask.array[:, ::2, ::2] > 0) > 0.97


def test_a_flipped_and_permuted_image_gets_its_lungs_in_its_own_order(phantom, found):
    ct = Image(phantom.ct.array[3:5], phantom.ct.grid.crop((0, 0, 3), (512, 512, 2)), "CT", "HU")
    array = ct.array[:, ::-1].transpose(2, 1, 0)
    axes = np.array([[0, 0, 1.0], [0, -1, 0], [1, 0, 0]])
    origin = ct.grid.to_physical(np.array([[0, 511, 0]]))[0]
    turned = Grid(array.shape[::-1], (1.0, 1.0, 1.0), tuple(origin), tuple(axes.ravel()))
    mask = watershed_lungs(Image(array, turned, "CT", "HU")).mask
    assert mask.grid.matches(turned)
    assert np.array_equal(mask.array.transpose(2, 1, 0)[:, ::-1], found.mask.array[3:5])
    case = patient_order(PreparedCase({"CT": Image(array, turned, "CT", "HU")}, "CT", masks={"lungs": mask}))
    assert np.array_equal(case.images["CT"].array, ct.array)
    assert case.grid.matches(ct.grid)
    assert np.array_equal(case.masks["lungs"].array, found.mask.array[3:5])


def test_the_patient_order_keeps_every_voxel_of_an_oblique_image_in_its_place():
    axes, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    grid = Grid((4, 3, 5), (1.0, 2.0, 3.0), (7.0, -5.0, 2.0), tuple(axes.ravel()))
    array = np.arange(60).reshape(5, 3, 4)
    order = PatientOrder.of(grid)
    turned, place = order.to_patient(array), order.grid(grid)
    inside = np.argwhere(turned > -1)
    back = np.rint(grid.to_index(place.to_physical(inside[:, ::-1]))).astype(int)
    assert np.array_equal(array[tuple(back[:, ::-1].T)], turned[tuple(inside.T)])


def test_gas_elsewhere_in_the_volume_is_no_lung(phantom):
    array = phantom.ct.array[:4].copy()
    array = np.concatenate([array, np.where(array == -850, 40, array)[:2], np.full_like(array[:2], 40)])
    array[-1, 250:260, 250:260] = -900
    grid = Grid((512, 512, 8), (1.0, 1.0, 1.0))
    mask = watershed_lungs(Image(array, grid, "CT", "HU")).mask.array
    assert mask[:4].any(axis=(1, 2)).all()
    assert not mask[-1].any()


def test_no_lungs_is_a_warning_and_a_wrong_constant_an_error(phantom):
    body = Image(np.where(phantom.ct.array[:1] < -500, 40, phantom.ct.array[:1]), Grid((512, 512, 1)))
    found = watershed_lungs(body)
    assert not found.mask.array.any()
    assert [item["code"] for item in found.report["warnings"]] == ["no_lungs"]
    with pytest.raises(ModelError, match="rim"):
        watershed_lungs(body, rim=3)
    with pytest.raises(ModelError, match="rim_mm"):
        watershed_lungs(body, rim_mm=-1)
