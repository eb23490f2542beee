"""RT structure sets: which voxels a contour contains, in any orientation."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_labels import write_rtstruct
from realdata import real_file
from SegDLEngine.errors import InputError
from SegDLEngine.images import rtstruct
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.reading import read_image
from SegDLEngine.images.rtstruct import inside, rasterise, read_rtstruct, region_names

# Turned by 30 degrees round x, then 20 round z.
OBLIQUE = (
    np.array([[0.93969262, -0.34202014, 0], [0.34202014, 0.93969262, 0], [0, 0, 1]])
    @ np.array([[1, 0, 0], [0, 0.8660254, -0.5], [0, 0.5, 0.8660254]])
).ravel()


def circle(radius: float, count: int = 200) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return radius * np.column_stack([np.cos(angle), np.sin(angle)])


def on_slice(grid: Grid, centre_ij, polygon_mm: np.ndarray, k: float) -> np.ndarray:
    """LPS points of a polygon (mm) round an index of slice ``k``."""
    index = np.asarray(centre_ij) + polygon_mm / np.asarray(grid.spacing[:2])
    return grid.to_physical(np.column_stack([index, np.full(len(index), k)]))


@pytest.mark.parametrize("direction", [np.eye(3).ravel(), OBLIQUE], ids=["axial", "oblique"])
def test_a_ring_is_a_disc_with_a_hole(direction):
    grid = Grid((60, 50, 8), (0.8, 0.9, 2.5), (-40, 12, 7), tuple(direction))
    contours = [on_slice(grid, (30, 25), circle(r), k) for k in (2, 3, 4) for r in (15.0, 6.0)]
    mask = rasterise(contours, grid)
    j, i = np.mgrid[:50, :60]
    distance = np.hypot((i - 30) * 0.8, (j - 25) * 0.9)
    ring = (distance < 15) & (distance > 6)
    assert mask.any(axis=(1, 2)).nonzero()[0].tolist() == [2, 3, 4]
    # The polygon of 200 corners is at most 0.002 mm inside the circle.
    assert np.array_equal(mask[3], ring)
    assert mask.sum() * grid.voxel_ml * 1000 == pytest.approx(3 * 2.5 * np.pi * (15**2 - 6**2), rel=0.02)


def test_keyhole_islands_and_copies():
    grid = Grid((20, 20, 3))
    outer = np.array([[1.5, 1.5], [16.5, 1.5], [16.5, 16.5], [1.5, 16.5]])
    hole, island = outer * 0.5 + 4.5, outer * 0.2 + 7.2
    points = [np.column_stack([polygon, np.full(4, 1.0)]) for polygon in (outer, hole, island)]
    expected = np.zeros((3, 20, 20), bool)
    expected[1, 2:17, 2:17] = True
    expected[1, 6:13, 6:13] = False
    expected[1, 8:11, 8:11] = True
    assert np.array_equal(rasterise(points, grid), expected)
    told = []
    twice = rasterise([*points, points[0]], grid, warn=lambda code, text: told.append(code))
    assert np.array_equal(twice, expected) and told == ["copies"]
    # Outer and hole as one line that goes in and comes back on itself.
    keyhole = np.concatenate([outer, outer[:1], hole[::-1][-1:], hole[::-1], outer[:1]])
    expected[1, 8:11, 8:11] = False
    assert np.array_equal(rasterise([np.column_stack([keyhole, np.ones(len(keyhole))])], grid), expected)


def test_a_vertex_on_a_row_of_voxels_counts_once():
    diamond = np.array([[5.0, 0.0], [10.0, 5.0], [5.0, 10.0], [0.0, 5.0]])
    points = np.array([[5.0, 5.0], [-1.0, 5.0], [11.0, 5.0], [2.0, 5.0], [5.0, -0.1], [5.0, 9.9]])
    assert inside(points, [diamond]).tolist() == [True, False, False, True, False, True]


def test_blocks_of_edges_change_nothing(monkeypatch):
    grid = Grid((60, 50, 1))
    contours = [on_slice(grid, (30, 25), circle(r), 0) for r in (20.0, 6.0)]
    whole = rasterise(contours, grid)
    monkeypatch.setattr(rtstruct, "PAIRS", 50)
    assert whole.any() and np.array_equal(rasterise(contours, grid), whole)


def test_contours_of_thick_slices_fill_a_finer_oblique_image():
    """Contours on planes 3 mm apart; an image of 1 mm voxels that is turned against them."""
    planes = Grid((80, 80, 11), (1, 1, 3), (-40, -40, -15))
    contours = [on_slice(planes, (40, 40), circle(12.0), k) for k in range(2, 9)]
    origin = -OBLIQUE.reshape(3, 3) @ (30, 35, 30)
    image = Grid((60, 70, 60), (1, 1, 1), tuple(origin), tuple(OBLIQUE))
    mask = rasterise(contours, image)
    x, y, z = image.to_physical(np.argwhere(np.ones(image.shape))[:, ::-1]).T
    cylinder = ((np.hypot(x, y) < 12) & (np.abs(z) < 10.5)).reshape(image.shape)
    # The polygon of 200 corners is at most 0.0015 mm inside the circle.
    assert cylinder.sum() > 9000 and np.count_nonzero(mask != cylinder) <= 10


@pytest.mark.parametrize("shift", [0.0, 0.4, 0.75, -0.75], ids=str)
def test_a_plane_of_3_mm_is_two_slices_of_1_5_mm(shift):
    planes = Grid((30, 30, 9), (1, 1, 3))
    contours = [on_slice(planes, (15, 15), circle(8.0), k) for k in (2, 3, 4)]
    image = Grid((30, 30, 18), (1, 1, 1.5), (0, 0, shift))
    assert np.count_nonzero(rasterise(contours, image).any(axis=(1, 2))) == 6


def test_gaps_stay_empty_and_one_plane_is_one_slice():
    grid = Grid((30, 30, 20), (1, 1, 2))
    contours = [on_slice(grid, (15, 15), circle(8.0), k) for k in (3, 4, 5, 12, 13)]
    assert rasterise(contours, grid).any(axis=(1, 2)).nonzero()[0].tolist() == [3, 4, 5, 12, 13]
    assert rasterise(contours[:1], grid).any(axis=(1, 2)).nonzero()[0].tolist() == [3]
    assert not rasterise([], grid).any()


def test_contours_outside_or_askew_are_told():
    grid = Grid((30, 30, 6))
    told = []
    mask = rasterise([on_slice(grid, (0, 15), circle(8.0), 2)], grid, warn=lambda c, text: told.append(c))
    assert told == ["outside"] and mask.any()
    upright = np.insert(circle(5.0), 1, 0.0, axis=1)
    askew = [on_slice(grid, (15, 15), circle(8.0), 2), upright]
    with pytest.raises(InputError, match="Region 'GTV' has contours that do not lie in parallel planes"):
        rasterise(askew, grid, "Region 'GTV'")


def test_reading_a_file(tmp_path):
    grid = Grid((30, 30, 6))
    path = write_rtstruct(
        tmp_path / "rs.dcm", {"GTV-1": [on_slice(grid, (15, 15), circle(8.0), 2)], "empty": []}
    )
    assert region_names(path) == ["GTV-1", "empty"]
    first, second = read_rtstruct(path, grid)
    assert first.name == "GTV-1" and first.mask[2].sum() == pytest.approx(np.pi * 64, rel=0.05)
    assert not second.mask.any()
    data = pydicom.dcmread(path)
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.save_as(tmp_path / "ct.dcm")
    with pytest.raises(InputError, match="no RT structure set but CT Image Storage"):
        read_rtstruct(tmp_path / "ct.dcm", grid)


def crossings(point, polygon) -> int:
    """How many edges a ray to the left of the point meets: the rule itself, point by point."""
    count, (px, py) = 0, point
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if min(y0, y1) <= py < max(y0, y1):
            count += px < x0 + (py - y0) * (x1 - x0) / (y1 - y0)
    return count


def test_ct_phantom_has_the_voxels_of_the_ibsi_reference():
    """125,256 voxels, 3.59e5 mm3: the reference ROI of the IBSI CT phantom without interpolation."""
    image = read_image(real_file("dicom", "ct_phantom", "image"))
    path = next(real_file("dicom", "ct_phantom", "mask").iterdir())
    (region,) = read_rtstruct(path, image.grid)
    assert region.name == "GTV-1"
    assert int(region.mask.sum()) == 125256
    assert region.mask.sum() * image.grid.voxel_ml * 1000 == pytest.approx(3.59e5, rel=0.005)
    # One slice against the rule written out point by point.
    contours = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
    points = np.asarray(contours[0].ContourData, float).reshape(-1, 3)
    index = image.grid.to_index(points)
    k = round(float(index[0, 2]))
    low, high = np.floor(index.min(axis=0)).astype(int), np.ceil(index.max(axis=0)).astype(int)
    slow = np.zeros_like(region.mask[k])
    for j in range(low[1], high[1] + 1):
        for i in range(low[0], high[0] + 1):
            x, y, _ = image.grid.to_physical(np.array([[i, j, k]]))[0]
            slow[j, i] = crossings((x, y), points[:, :2]) % 2
    assert np.array_equal(slow, region.mask[k])


def test_three_series_of_one_sarcoma_have_one_volume():
    volumes = []
    for series in ("CT", "PET", "MR_T1"):
        grid = read_image(real_file("dicom", "STS_025", series, "image")).grid
        (region,) = read_rtstruct(real_file("dicom", "STS_025", series, "mask", "RS.dcm"), grid)
        volumes.append(region.mask.sum() * grid.voxel_ml)
    assert volumes == pytest.approx([30.11, 30.24, 30.11], abs=0.01)
