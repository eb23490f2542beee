"""In-plane morphology is exact: compared with the definition, pixel by pixel."""

import numpy as np
import pytest
from SegDLEngine.preprocessing.lungs import planes

SPACINGS = [(1.0, 1.0), (0.57, 0.57), (0.7, 1.3), (3.0, 1.0)]


def by_definition(mask, spacing, radius):
    """The disc at every true pixel, voxel by voxel."""
    result = np.zeros_like(mask)
    j, i = np.mgrid[: mask.shape[1], : mask.shape[2]]
    for k, row, column in np.argwhere(mask):
        squared = ((j - row) * spacing[0]) ** 2 + ((i - column) * spacing[1]) ** 2
        result[k] |= squared <= radius**2 + 1e-6
    return result


def sparse(shape=(9, 31, 40), share=0.01):
    return np.random.default_rng(4).random(shape) < share


def test_packing_keeps_every_voxel_also_when_slices_do_not_fill_a_byte():
    for slices in (1, 7, 8, 9, 17):
        mask = sparse((slices, 5, 6), 0.5)
        assert np.array_equal(planes.unpack(planes.pack(mask), slices), mask)


def test_the_disc_of_radius_5_has_81_pixels_and_of_radius_1_five():
    assert planes.disk_widths((1.0, 1.0), 5.0) == [5, 4, 4, 4, 3, 0]
    assert planes.disk_widths((1.0, 1.0), 1.0) == [1, 0]
    point = np.zeros((1, 21, 21), bool)
    point[0, 10, 10] = True
    assert planes.dilate(point, (1.0, 1.0), 5.0).sum() == 81


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [0.4, 1.0, 3.0, 5.0])
def test_dilation_equals_the_definition(spacing, radius):
    mask = sparse()
    assert np.array_equal(planes.dilate(mask, spacing, radius), by_definition(mask, spacing, radius))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_closing_equals_the_definition_on_an_unbounded_plane(spacing):
    mask = sparse(share=0.05)
    wide = np.pad(mask, ((0, 0), (20, 20), (20, 20)))
    closed = ~by_definition(~by_definition(wide, spacing, 3.0), spacing, 3.0)
    assert np.array_equal(planes.closing(mask, spacing, 3.0), closed[:, 20:-20, 20:-20])


def test_opening_equals_the_definition_inside_and_spares_what_the_edge_cuts():
    mask = sparse(share=0.9)
    wide = np.pad(mask, ((0, 0), (10, 10), (10, 10)), constant_values=True)
    eroded = ~by_definition(~wide, (1.0, 1.0), 2.0)
    opened = by_definition(eroded[:, 10:-10, 10:-10], (1.0, 1.0), 2.0)
    assert np.array_equal(planes.opening(mask, (1.0, 1.0), 2.0), opened)
    assert planes.opening(np.ones((2, 9, 9), bool), (1.0, 1.0), 3.0).all()


def test_three_cross_dilations_make_an_octahedron_of_63_voxels():
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    grown = planes.dilate_cross(mask, 3)
    distance = np.abs(np.indices(mask.shape) - 4).sum(axis=0)
    assert np.array_equal(grown, distance <= 3)
    assert grown.sum() == 63
