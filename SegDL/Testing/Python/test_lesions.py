"""The lesion table on hand-made lesions whose measures are known."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.measurement.lesions import COLUMNS, axial_diameters, convex_hull, lesion_table, write_lesions

UNIT = Grid((40, 30, 10))


def rotated(angle_deg: float, spacing=(1.0, 1.0, 1.0), size=(60, 60, 5), plane=(0, 1)) -> Grid:
    angle = np.deg2rad(angle_deg)
    axes = np.eye(3)
    first, second = plane
    axes[first, first] = axes[second, second] = np.cos(angle)
    axes[first, second], axes[second, first] = -np.sin(angle), np.sin(angle)
    return Grid(size, spacing, (3.0, -7.0, 11.0), tuple(axes.ravel()))


def ellipse(grid: Grid, long: float, short: float, angle_deg: float) -> np.ndarray:
    """A filled ellipse (semi-axes in mm) in every slice, turned in the plane of the slices."""
    j, i = np.mgrid[: grid.size[1], : grid.size[0]].astype(float)
    x = (i - (grid.size[0] - 1) / 2) * grid.spacing[0]
    y = (j - (grid.size[1] - 1) / 2) * grid.spacing[1]
    angle = np.deg2rad(angle_deg)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    return np.broadcast_to((along / long) ** 2 + (across / short) ** 2 <= 1, grid.shape).copy()


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 133])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (0.6, 1.5, 3.0), (1.5, 0.6, 3.0)])
def test_ellipse_diameters_in_millimetres(angle, spacing):
    grid = Grid((100, 100, 2), spacing)
    long, perpendicular = axial_diameters(ellipse(grid, 22, 12, angle), grid)
    assert long == pytest.approx(44, abs=1.2)
    assert perpendicular == pytest.approx(24, abs=1.5)


@pytest.mark.parametrize("angle", [10, 30, 77])
def test_diameters_do_not_depend_on_the_direction_of_the_grid(angle):
    straight, turned = Grid((60, 60, 5)), rotated(angle)
    lesion = ellipse(straight, 20, 9, 25)
    assert axial_diameters(lesion, turned) == pytest.approx(axial_diameters(lesion, straight))


def test_sheared_axes_are_measured_in_the_plane():
    """In-plane axes at 60 degrees: the diagonal (1, 1) of a rhombus of n voxels is sqrt(3) n long."""
    axes = np.eye(3)
    axes[:2, 1] = np.cos(np.pi / 3), np.sin(np.pi / 3)
    grid = Grid((20, 20, 1), direction=tuple(axes.ravel()))
    lesion = np.zeros(grid.shape, bool)
    lesion[0, range(10), range(10)] = True
    long, _ = axial_diameters(lesion, grid)
    assert long == pytest.approx(9 * np.sqrt(3), abs=1.0)


def test_a_row_of_voxels_is_as_long_as_its_voxels():
    grid = Grid((12, 12, 3), (0.8, 0.5, 2.0))
    lesion = np.zeros(grid.shape, bool)
    lesion[1, 4, 2:9] = True
    assert axial_diameters(lesion, grid) == pytest.approx((7 * 0.8, 0.5))
    lesion[:] = False
    lesion[1, 4, 4] = True
    assert axial_diameters(lesion, grid) == pytest.approx((0.8, 0.5))


def test_perpendicular_is_a_chord_not_a_width():
    """A parallelogram's width across its diagonal is larger than any chord across it."""
    grid = Grid((80, 80, 1))
    j, i = np.mgrid[:80, :80]
    lesion = ((i >= j) & (i < j + 30) & (j >= 10) & (j < 50))[None]
    long, perpendicular = axial_diameters(lesion, grid)
    points = np.argwhere(lesion[0])[:, ::-1].astype(float)
    ends = np.array([[10, 10], [78, 49]])
    direction = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    across = points @ [-direction[1], direction[0]]
    assert long == pytest.approx(np.linalg.norm(ends[1] - ends[0]), abs=1.5)
    assert perpendicular < np.ptp(across) - 5
    # The longest chord across lies where both long sides face each other: compare with sampled chords.
    along = points @ direction
    chords = [np.ptp(across[np.abs(along - at) < 0.5]) for at in np.arange(along.min(), along.max())]
    assert perpendicular == pytest.approx(max(chords), abs=2.0)


def test_the_longest_slice_decides_and_both_diameters_come_from_it():
    grid = Grid((40, 40, 3))
    lesion = np.zeros(grid.shape, bool)
    lesion[0, 5:35, 18:22] = True
    lesion[1, 8:32, 8:32] = True
    long, perpendicular = axial_diameters(lesion, grid)
    lesion[0] = False
    square = axial_diameters(lesion, grid)
    assert long == square[0] > 30 and perpendicular == square[1]


def test_axial_slices_of_a_sagittal_image():
    """Axes i -> posterior, j -> inferior, k -> left: an axial slice is one of constant j."""
    direction = (0, 0, 1, 1, 0, 0, 0, -1, 0)
    grid = Grid((30, 30, 30), (1.0, 1.0, 2.0), direction=direction)
    lesion = np.zeros(grid.shape, bool)
    lesion[5:20, 3:25, 6:10] = True
    long, perpendicular = axial_diameters(lesion, grid)
    # 15 slices of 2 mm by 4 voxels of 1 mm; the 22 mm along the body do not count.
    assert 30 <= long <= np.hypot(30, 4)
    assert 4 <= perpendicular < 5


def test_table_of_two_lesions():
    labels = np.zeros(UNIT.shape, np.uint8)
    labels[1:4, 10:20, 5:15] = 1
    labels[6:8, 3:6, 30:34] = 1
    labels[8:10, 20:28, 30:36] = 4
    intensity = np.arange(labels.size, dtype=np.int16).reshape(UNIT.shape)
    std = Image(np.where(labels == 1, 0.25, 0.0).astype(np.float32), UNIT)
    rows = lesion_table(Image(labels, UNIT), {1: "Tumour", 4: "Node"}, Image(intensity, UNIT), std)
    assert all(tuple(row) == COLUMNS for row in rows)
    assert [(row["name"], row["component"], row["voxels"]) for row in rows] == [
        ("Tumour", 1, 300),
        ("Node", 1, 96),
        ("Tumour", 2, 24),
    ]
    first, node, _ = rows
    values = intensity[1:4, 10:20, 5:15]
    assert first["volume_ml"] == pytest.approx(0.3)
    assert (first["minimum"], first["maximum"]) == (values.min(), values.max())
    assert first["mean"] == pytest.approx(values.mean())
    assert first["mean_uncertainty"] == pytest.approx(0.25) and node["mean_uncertainty"] == 0
    assert first["centroid_ras"] == pytest.approx([-9.5, -14.5, 2.0])


def test_uptake_of_a_lesion():
    labels = np.zeros(UNIT.shape, np.uint8)
    labels[1:4, 10:20, 5:15] = 1
    suv = np.where(labels, 4.0, 30.0).astype(np.float32)
    suv[2, 12, 7] = 9.5
    row = lesion_table(Image(labels, UNIT), {1: "T"}, Image(labels, UNIT), None, Image(suv, UNIT))[0]
    assert row["suv_max"] == pytest.approx(9.5)
    assert row["suv_mean"] == pytest.approx(4 + 5.5 / 300)
    without = lesion_table(Image(labels, UNIT), {1: "T"}, Image(labels, UNIT))[0]
    assert (without["suv_mean"], without["suv_max"]) == (None, None)


def test_centroid_on_an_oblique_grid():
    grid = rotated(30, spacing=(0.7, 1.3, 2.5), plane=(1, 2))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2, 20, 30] = 1
    row = lesion_table(Image(labels, grid), {1: "T"}, Image(labels, grid))[0]
    assert row["centroid_ras"] == pytest.approx((grid.ijk_to_ras @ [30, 20, 2, 1])[:3])
    assert row["volume_ml"] == pytest.approx(0.7 * 1.3 * 2.5 / 1000)


def test_no_lesions_no_rows():
    empty = Image(np.zeros(UNIT.shape, np.uint8), UNIT)
    assert lesion_table(empty, {1: "T"}, empty) == []


def test_hull_against_scipy():
    spatial = pytest.importorskip("scipy.spatial")
    points = np.random.default_rng(0).normal(size=(300, 2))
    hull = convex_hull(points)
    expected = points[spatial.ConvexHull(points).vertices]
    assert {tuple(point) for point in hull} == {tuple(point) for point in expected}


def rows_of_a_case() -> list[dict]:
    labels = np.zeros(UNIT.shape, np.uint8)
    labels[1:4, 10:20, 5:15] = 1
    return lesion_table(Image(labels, UNIT), {1: "Tumour, left"}, Image(labels, UNIT))


def test_json_holds_the_rows(tmp_path):
    write_lesions(rows_of_a_case(), tmp_path / "lesions.json")
    assert json.loads((tmp_path / "lesions.json").read_text()) == rows_of_a_case()
    assert [path.name for path in tmp_path.iterdir()] == ["lesions.json"]


def test_csv_holds_the_rows(tmp_path):
    write_lesions(rows_of_a_case(), tmp_path / "lesions.csv")
    with (tmp_path / "lesions.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["name"] == "Tumour, left" and row["mean_uncertainty"] == ""
    assert float(row["volume_ml"]) == 0.3 and float(row["centroid_a"]) == -14.5


def test_a_failed_write_leaves_the_old_table(tmp_path):
    path = tmp_path / "lesions.csv"
    path.write_text("old")
    with pytest.raises(KeyError):
        write_lesions([{"label": 1}], path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match=r"lesions\.xls"):
        write_lesions([], tmp_path / "lesions.xls")
    with pytest.raises(InputError, match=r"absent' of 'lesions\.csv' does not exist"):
        write_lesions([], tmp_path / "absent" / "lesions.csv")
