"""Each step of the lung isolation on hand-made examples."""

import numpy as np
import pytest
from SegDLEngine.preprocessing.lungs.air import grow
from SegDLEngine.preprocessing.lungs.body import fill_body, find_padding, find_tissue
from SegDLEngine.preprocessing.lungs.components import fill_holes, largest, split_by_area
from SegDLEngine.preprocessing.lungs.couch import find_couch
from SegDLEngine.preprocessing.lungs.dilation import add_margin
from SegDLEngine.preprocessing.lungs.hilum import add_hilum
from SegDLEngine.preprocessing.lungs.mirror import mirror_union, overhang
from SegDLEngine.preprocessing.lungs.pair import keep_pair
from SegDLEngine.preprocessing.lungs.spine import project, smooth
from SegDLEngine.preprocessing.lungs.trachea import find_airways, without_cavities
from SegDLEngine.preprocessing.lungs.vessels import close_vessels

MM = (1.0, 1.0, 1.0)
COUCH = {"dense_hu": -700, "minimum_width": 0.4, "minimum_aspect": 4}


def box(shape, *ranges):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*ends) for ends in ranges)] = True
    return mask


def disk(rows, columns, centre, radius):
    j, i = np.mgrid[:rows, :columns]
    return (j - centre[0]) ** 2 + (i - centre[1]) ** 2 <= radius**2


# components


def test_the_largest_component_counts_exactly_where_the_estimate_is_close():
    mask = np.zeros((1, 20, 40), bool)
    mask[0, 2:12, 2:12] = True
    mask[0, 3:14, 21:31] = True
    assert np.array_equal(largest(mask), box(mask.shape, (0, 1), (3, 14), (21, 31)))
    assert not largest(np.zeros((2, 3, 4), bool)).any()


def test_one_voxel_that_the_estimate_does_not_see_is_still_the_largest():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    assert np.array_equal(largest(mask), mask)


def test_slices_are_split_by_area_with_edges_but_not_corners_joined():
    mask = np.zeros((2, 10, 10), bool)
    mask[0, :2, :5] = True
    mask[0, 2:4, 5:8] = True
    mask[1, 0, 0] = True
    cores, small = split_by_area(mask, 6, 10)
    assert np.array_equal(cores, mask & ~box(mask.shape, (1, 2), (0, 1), (0, 1)))
    assert np.array_equal(small, mask & ~box(mask.shape, (0, 1), (0, 2), (0, 5)))


def test_holes_are_filled_up_to_their_limit_and_bays_never():
    mask = box((1, 20, 30), (0, 1), (2, 18), (2, 28))
    mask[0, 5:8, 5:8] = False
    mask[0, 5:15, 15:25] = False
    mask[0, 10, :4] = False
    filled = fill_holes(mask, 9)
    assert filled[0, 5:8, 5:8].all()
    assert not filled[0, 5:15, 15:25].any()
    assert not filled[0, 10, :4].any()


def test_growing_reaches_what_is_connected_in_the_volume_and_nothing_else():
    allowed = box((3, 5, 9), (0, 3), (1, 3), (1, 3)) | box((3, 5, 9), (1, 2), (1, 3), (6, 8))
    seeds = box((3, 5, 9), (0, 1), (1, 2), (1, 2))
    assert np.array_equal(grow(seeds, allowed), box((3, 5, 9), (0, 3), (1, 3), (1, 3)))
    assert not grow(np.zeros_like(seeds), allowed).any()


# body and couch


def chest(slices=4, rows=120, columns=160):
    """Air, a body of 40 HU in rows 20..79, with a lung in it, on -1010..-990 HU of noise outside."""
    hu = np.random.default_rng(1).integers(-1010, -990, (slices, rows, columns)).astype(np.int16)
    hu[:, 20:80, 30:130] = 40
    hu[:, 35:65, 50:100] = np.random.default_rng(2).integers(-900, -800, (slices, 30, 50))
    return hu


def test_a_sheet_that_touches_the_body_is_no_tissue():
    hu = chest()
    hu[:, 80:83, 10:150] = 40
    tissue = find_tissue(hu, MM, -500, 3.0)
    assert not tissue[:, 84:].any()
    assert not tissue[:, 80:83, :28].any()
    assert tissue[:, 25:30, 35:125].all()


@pytest.mark.parametrize("spacing", [MM, (3.0, 2.0, 2.0)])
def test_the_body_holds_its_lung_and_the_air_around_is_outside(spacing):
    hu = chest()
    body, cut = fill_body(hu, find_tissue(hu, spacing, -500, 3.0), spacing, -320, 500)
    assert not cut
    assert body[:, 35:65, 50:100].all()
    assert not body[:, :20].any()
    assert not body[:, 80:].any()


def test_a_lung_at_the_image_edge_belongs_to_the_body():
    hu = chest()[:, 30:80, 60:130]
    body, cut = fill_body(hu, find_tissue(hu, MM, -500, 3.0), MM, -320, 500)
    assert cut
    assert body[:, 5:35, :40].all()


def test_a_lung_at_the_filling_of_a_round_field_of_view_belongs_to_the_body():
    hu = chest()
    hu[:, :, :70] = -1024
    padding = find_padding(hu)
    assert padding[:, :, :70].all()
    assert not padding[:, 35:65, 71:100].any()
    body, cut = fill_body(hu, find_tissue(hu, MM, -500, 3.0), MM, -320, 500)
    assert cut
    assert body[:, 35:65, 70:100].all()
    assert not body[:, :, :70].any()


def test_clipped_air_inside_the_body_is_no_padding():
    hu = chest()
    hu[:, 40:60, 60:80] = -1024
    assert not find_padding(hu)[:, 40:60, 60:80].any()


def test_a_couch_is_wide_and_behind_and_takes_what_lies_under_its_surface():
    hu = chest()
    body = box(hu.shape, (0, 4), (20, 80), (30, 130))
    hu[:, 95:98, 20:140] = -300
    hu[:, 98:105, 20:140] = -950
    couch = find_couch(hu, body, MM, **COUCH)
    assert np.array_equal(couch, box(hu.shape, (0, 4), (95, 120), (20, 140)))


def test_a_blanket_in_front_a_narrow_tube_and_a_thick_block_are_no_couch():
    body = box((4, 120, 160), (0, 4), (20, 80), (30, 130))
    for rows, columns in [((5, 8), (20, 140)), ((95, 98), (60, 75)), ((90, 118), (40, 100))]:
        hu = chest()
        hu[:, slice(*rows), slice(*columns)] = 0
        assert not find_couch(hu, body, MM, **COUCH).any()


def test_the_skin_that_the_opening_took_is_no_couch():
    hu = chest()
    hu[:, 80:82, 30:130] = 40
    body = box(hu.shape, (0, 4), (20, 80), (30, 130))
    assert not find_couch(hu, body, MM, **COUCH).any()


# airways


def test_small_gas_is_airway_and_small_parenchyma_is_not():
    hu = np.full((6, 40, 60), 40, np.int16)
    small = np.zeros(hu.shape, bool)
    small[:, disk(40, 60, (20, 15), 6)] = True
    hu[small] = -980
    apex = np.zeros(hu.shape, bool)
    apex[:, disk(40, 60, (20, 45), 6)] = True
    hu[apex] = -850
    airways = find_airways(hu, small | apex, small | apex, MM, -930)
    assert np.array_equal(airways, small)


def test_a_trachea_is_followed_through_a_slice_in_which_it_touches_a_lung():
    hu = np.full((5, 60, 90), 40, np.int16)
    lung = box(hu.shape, (0, 5), (5, 55), (40, 85))
    hu[lung] = -850
    trachea = np.zeros(hu.shape, bool)
    trachea[:, disk(60, 90, (30, 25), 8)] = True
    hu[trachea] = -990
    hu[2, 28:32, 34:42] = -850
    air = hu < -320
    _, small = split_by_area(air, 0, 300)
    assert not (small & trachea)[2].any()
    airways = find_airways(hu, air, small, MM, -930)
    assert (airways & trachea).sum() == trachea.sum()
    assert not (airways & lung).any()


def test_an_airway_is_not_followed_into_a_wide_open_space():
    hu = np.full((3, 80, 80), -990, np.int16)
    hu[:2] = 40
    hu[:2, 35:45, 35:45] = -990
    air = hu < -320
    _, small = split_by_area(air, 0, 500)
    airways = find_airways(hu, air, small, MM, -930)
    assert airways[:2].sum() == 200
    assert not airways[2].any()


def test_a_cavity_inside_a_lung_is_no_airway_and_a_bronchus_that_leads_out_is():
    lungs = box((6, 40, 60), (0, 6), (5, 35), (5, 30))
    cavity = box(lungs.shape, (2, 4), (10, 14), (10, 14))
    bronchus = box(lungs.shape, (0, 3), (20, 24), (20, 50))
    assert np.array_equal(without_cavities(cavity | bronchus, lungs), bronchus)
    assert not without_cavities(np.zeros_like(lungs), lungs).any()


# pair


def lungs_of(*sizes, hu_values=None):
    """One row of blocks of ``sizes`` voxels, a voxel apart, and their density."""
    air = np.zeros((1, 1, sum(sizes) + len(sizes)), bool)
    hu = np.full(air.shape, 40, np.int16)
    start, blocks = 0, []
    for number, size in enumerate(sizes):
        block = slice(start, start + size)
        air[0, 0, block] = True
        hu[0, 0, block] = hu_values[number] if hu_values else -850
        blocks.append(block)
        start += size + 1
    return air, hu, blocks


@pytest.mark.parametrize(
    ("sizes", "remnant", "kept"),
    [
        ((100, 100), None, [100, 100]),
        ((61, 100), None, [100, 61]),
        ((100, 60), None, [100]),
        ((100, 90, 80), None, [100, 90]),
        ((100, 20), 0.05, [100, 20]),
        ((100, 80, 20), 0.05, [100, 80, 20]),
        ((100, 5), 0.05, [100]),
        ((100,), None, [100]),
    ],
)
def test_the_pair_by_size(sizes, remnant, kept):
    air, hu, _ = lungs_of(*sizes)
    pair, counts = keep_pair(air, hu, 0.6, remnant, -930)
    assert counts == kept
    assert pair.sum() == sum(kept)


def test_a_stomach_larger_than_a_lung_is_no_lung():
    air, hu, blocks = lungs_of(120, 100, 90, hu_values=[-995, -850, -840])
    pair, counts = keep_pair(air, hu, 0.6, 0.05, -930)
    assert counts == [100, 90]
    assert not pair[0, 0, blocks[0]].any()


def test_no_air_has_no_pair():
    pair, counts = keep_pair(np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), np.int16), 0.6, None, -930)
    assert counts == []
    assert not pair.any()


# vessels


def test_a_vessel_inside_and_one_at_the_border_become_lung_and_the_heart_does_not():
    lung = box((1, 120, 120), (0, 1), (10, 110), (10, 110))
    lung[0, 30:34, 30:34] = False
    lung[0, 60:62, 10:20] = False
    lung[0, 40:100, 50:100] = False
    closed = close_vessels(lung, MM, 3.0, 1000.0)
    assert closed[0, 30:34, 30:34].all()
    assert closed[0, 60:62, 12:20].all()
    assert not closed[0, 50:90, 60:90].any()


# spine


def test_the_projection_is_centred_on_a_plateau():
    bone = np.zeros((3, 30, 80), bool)
    for k, column in enumerate((40, 41, 33)):
        bone[k, :, column - 6 : column + 7] = True
    centres, rows = project(bone, 20, 60, 7, 1.0)
    assert centres.tolist() == [40, 41, 33]
    assert rows.tolist() == [14.5] * 3
    assert project(bone[:1, :, :41], 20, 60, 7, 1.0)[0].shape == (1,)


def test_an_even_width_has_its_middle_between_two_columns():
    bone = box((1, 10, 60), (0, 1), (0, 10), (20, 30))
    assert project(bone, 0, 60, 7, 1.0)[0][0] == 24.5


def test_two_dense_edges_of_a_vertebra_are_one_peak():
    bone = np.zeros((1, 40, 60), bool)
    bone[0, 10:30, 20:41] = True
    bone[0, 5:35, 20:23] = True
    bone[0, 4:35, 38:41] = True
    assert project(bone, 0, 60, 7, 0.75)[0][0] == pytest.approx(30, abs=1)


def test_a_slice_without_bone_is_unknown_and_keeps_the_former_axis():
    bone = np.zeros((3, 10, 40), bool)
    bone[0, :, 10:17] = bone[2, :, 20:27] = True
    centres, _ = project(bone, 0, 40, 7, 1.0)
    assert centres[0] == 13
    assert np.isnan(centres[1])
    assert smooth(centres, 1, 0.3).tolist() == pytest.approx([13, 13, 0.3 * 23 + 0.7 * 13])


def test_smoothing_begins_with_the_mean_of_five_and_remembers_its_own_output():
    measured = np.array([10.0, 12, 14, 16, 18, 40, 40])
    state, expected = 14.0, []
    for value in measured:
        state = 0.3 * value + 0.7 * state
        expected.append(state)
    assert smooth(measured, 5, 0.3).tolist() == pytest.approx(expected)
    assert smooth(np.full(9, 77.5), 5, 0.3).tolist() == pytest.approx([77.5] * 9)
    assert np.isnan(smooth(np.full(3, np.nan), 5, 0.3)).all()


# mirror, hilum, margin


def test_the_mirrored_union_is_a_superset_and_symmetric_to_a_pixel():
    mask = np.random.default_rng(3).random((4, 30, 41)) < 0.1
    columns = np.array([20.0, 18.2, 23.6, 20.5])
    union = mirror_union(mask, columns)
    assert (union & mask).sum() == mask.sum()
    for k, column in enumerate(columns):
        for row, i in np.argwhere(union[k]):
            opposite = round(2 * column) - i
            if 0 <= opposite < 41:
                assert union[k, row, opposite]


def test_slices_below_the_axis_stay_and_positions_between_columns_count():
    mask = box((3, 1, 9), (0, 3), (0, 1), (1, 2))
    union = mirror_union(mask, np.array([4.0, 4.5]), first=1)
    assert [np.flatnonzero(plane[0]).tolist() for plane in union] == [[1], [1, 7], [1, 8]]


def test_the_overhang_is_what_the_mirror_image_needs_beside_the_image():
    mask = box((1, 1, 10), (0, 1), (0, 1), (6, 9))
    assert overhang(mask, np.array([2.0])) == (4, 0)
    assert overhang(mask, np.array([9.0])) == (0, 3)
    assert overhang(np.zeros((1, 1, 10), bool), np.array([2.0])) == (0, 0)


def test_the_hollow_of_a_lung_is_filled_as_far_as_its_reach():
    lung = box((1, 80, 80), (0, 1), (10, 70), (10, 60))
    lung[0, 20:60, 30:60] = False
    filled = add_hilum(lung, None, 0, MM, 15.0)
    assert filled[0, 20:60, 30:45].all()
    assert not filled[0, 40, 45:].any()
    assert filled[0, 10:70, 10:60].sum() == filled.sum()


def test_each_side_of_the_axis_has_its_own_hull():
    lungs = box((1, 40, 60), (0, 1), (5, 35), (5, 20)) | box((1, 40, 60), (0, 1), (5, 35), (40, 55))
    assert np.array_equal(add_hilum(lungs, np.array([30.0]), 0, MM, 50.0), lungs)
    assert add_hilum(lungs, None, 0, MM, 50.0)[0, 20, 20:40].all()


def test_the_hull_of_a_diamond_is_the_diamond():
    j, i = np.mgrid[:41, :41]
    diamond = (abs(j - 20) + abs(i - 20) <= 15)[None]
    assert np.array_equal(add_hilum(diamond, None, 0, MM, 30.0), diamond)


def test_the_margin_is_a_disc_in_the_slice_and_copies_at_the_ends():
    mask = np.zeros((9, 31, 31), bool)
    mask[3:5, 15, 15] = True
    grown = add_margin(mask, (3.0, 1.0, 1.0), 5.0, 6.0)
    expected = disk(31, 31, (15, 15), 5)
    assert [plane.any() for plane in grown] == [False, True, True, True, True, True, True, False, False]
    assert all(np.array_equal(plane, expected) for plane in grown[1:7])
    assert not add_margin(np.zeros_like(mask), MM, 5.0, 6.0).any()
