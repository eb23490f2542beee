"""The generated thorax: reproducible, plausible in its densities, tumours where the labels say."""

import numpy as np
import pytest
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.synthesis.space import Space, coverage, smooth_field
from SegDLTrainingLib.synthesis.thorax import make_phantom, thorax_phantom
from SegDLTrainingLib.synthesis.vessels import grow_tree

COARSE = (4.0, 4.0, 6.0)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(3, COARSE, tumours=[30.0, 45.0])


def test_same_seed_same_voxels(phantom):
    again = make_phantom(3, COARSE, tumours=[30.0, 45.0])
    assert np.array_equal(phantom.ct.array, again.ct.array)
    assert np.array_equal(phantom.labels.array, again.labels.array)
    other = make_phantom(4, COARSE, tumours=[30.0, 45.0])
    assert not np.array_equal(phantom.ct.array, other.ct.array)


def test_densities_are_those_of_a_thorax(phantom):
    ct, lungs = phantom.ct.array, phantom.lungs.array > 0
    healthy = lungs & (phantom.labels.array == 0)
    assert -950 < np.median(ct[healthy]) < -700
    assert ct[:, 0, :].max() < -700, "air above the patient"
    assert np.percentile(ct, 99.5) > 200, "bone or contrast"
    litres = lungs.sum() * phantom.ct.grid.voxel_ml / 1000
    assert 1.5 < litres < 9


def test_tumour_is_soft_tissue_inside_the_body_and_mostly_in_the_lungs(phantom):
    tumour = phantom.labels.array > 0
    assert len(phantom.tumours) >= 1
    assert tumour.any()
    assert -900 < np.median(phantom.ct.array[tumour]) < 150
    assert (phantom.lungs.array[tumour] > 0).all()
    assert not tumour[:, 0].any() and not tumour[:, -1].any()
    assert not tumour[:, :, 0].any() and not tumour[:, :, -1].any()


def test_no_tumour_when_none_is_wanted():
    ct, labels = thorax_phantom(5, COARSE, tumours=0)
    assert ct.grid.matches(labels.grid)
    assert not labels.array.any()


def test_grid_has_the_spacing_asked_for_and_lies_on_its_multiples(phantom):
    grid = phantom.ct.grid
    assert grid.spacing == COARSE
    steps = np.asarray(grid.origin) / np.asarray(COARSE)
    assert np.allclose(steps, np.rint(steps))


def test_smooth_field_is_standardised_and_smooth():
    field = smooth_field((30, 40, 50), (2.0, 2.0, 2.0), 30.0, np.random.default_rng(0))
    assert field.shape == (30, 40, 50)
    assert abs(field.mean()) < 1e-4 and abs(field.std() - 1) < 1e-4
    assert np.abs(np.diff(field, axis=2)).max() < 0.5


def test_ellipsoid_distance_and_coverage(phantom):
    space = Space(phantom.ct.grid, np.random.default_rng(0), bend_mm=0.0)
    share = coverage(space.ellipsoid((0, 0, 0), (40, 40, 40)), space.edge)
    volume = share.sum() * phantom.ct.grid.voxel_ml
    assert volume == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.02)


def test_a_tree_reaches_its_targets_and_thins_out():
    rng = np.random.default_rng(1)
    targets = rng.uniform(0, 50, (40, 3))
    branches = grow_tree(np.zeros(3), targets, 6.0, 0.7, rng)
    ends = np.array([branch.end for branch in branches])
    for target in targets:
        assert np.linalg.norm(ends - target, axis=1).min() < 1e-9
    assert branches[0].radii[1] == pytest.approx(6.0)
    assert max(branch.radii[1] for branch in branches if branch.leaves == 1) < 0.71


def test_phantom_command_writes_image_and_labels(tmp_path):
    ct, labels = tmp_path / "ct.nrrd", tmp_path / "labels.nrrd"
    arguments = ["phantom", str(ct), "--labels", str(labels), "--seed", "3", "--spacing", "5", "5", "6"]
    assert main(arguments) == 0
    from SegDLEngine import read_image

    image, mask = read_image(ct), read_image(labels)
    assert image.grid.matches(mask.grid)
    assert mask.array.max() == 1 and image.array.min() >= -1024


def test_phantom_command_refuses_an_absurd_spacing(tmp_path, capsys):
    assert main(["phantom", str(tmp_path / "ct.nrrd"), "--spacing", "0.01", "1", "1"]) == 2
    assert "spacing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
