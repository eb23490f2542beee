"""Views drawn off screen by Slicer's displayable managers: the pictures show what is in the scene."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.host

SIZE = (220, 200)


def pixels(path):
    """Height x width x RGB of a PNG, the top row first."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    width, height, _ = reader.GetOutput().GetDimensions()
    flat = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())
    return flat.reshape(height, width, -1)[::-1, :, :3].astype(int)


@pytest.fixture
def layout(scene, graphics):
    import slicer
    from host.views import ViewLayout

    return ViewLayout(slicer.app, size=SIZE)


@pytest.fixture
def ball(scene):
    """A bright ball of 12 mm radius round RAS (10, -5, 20), and the volume that shows it."""
    import slicer.util

    center = np.array([10.0, -5.0, 20.0])
    spacing, shape = np.array([1.5, 1.5, 2.0]), (40, 60, 60)
    origin = np.array([45.0, 45.0, -20.0])
    k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]]
    x, y, z = origin[0] - spacing[0] * i, origin[1] - spacing[1] * j, origin[2] + spacing[2] * k
    distance = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
    matrix = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    matrix[:3, 3] = origin
    volume = slicer.util.addVolumeFromArray((1000.0 * (distance < 12)).astype(np.int16), matrix, "CT")
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 1000)
    return volume, center, distance < 12


def bright_box(image):
    rows, columns = np.nonzero(image.min(axis=2) > 200)
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_slice_view_shows_the_volume_centred_on_a_point(layout, ball, tmp_path):
    volume, center, _ = ball
    layout.show(volume)
    layout.jump_to(center, width_mm=60.0)

    image = pixels(layout.slices["Red"].png(tmp_path / "red.png"))

    assert image.shape == (SIZE[1], SIZE[0], 3)
    top, bottom, left, right = bright_box(image)
    pixel = 60.0 / SIZE[0]
    assert abs((bottom - top + 1) * pixel - 24.0) < 2.5
    assert abs((right - left + 1) * pixel - 24.0) < 2.5
    assert abs((top + bottom) / 2 - SIZE[1] / 2) < 6
    assert abs((left + right) / 2 - SIZE[0] / 2) < 6


def test_segments_and_overlay_are_drawn_in_their_colours(layout, ball, tmp_path):
    import slicer
    import slicer.util

    volume, center, mask = ball
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Tumours")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("", "Lesion", (1.0, 0.0, 0.0))
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment, volume)
    layout.show(volume)
    layout.jump_to(center)

    image = pixels(layout.slices["Red"].png(tmp_path / "red.png"))
    reddish = (image[:, :, 0] > image[:, :, 1] + 60) & (image[:, :, 0] > image[:, :, 2] + 60)
    assert reddish.sum() > 300

    node.GetDisplayNode().SetVisibility(False)
    image = pixels(layout.slices["Red"].png(tmp_path / "hidden.png"))
    assert (np.ptp(image, axis=2) > 60).sum() == 0

    overlay = slicer.util.addVolumeFromArray(
        mask.astype(np.float32), slicer.util.arrayFromVTKMatrix(_matrix(volume))
    )
    overlay.CreateDefaultDisplayNodes()
    overlay.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
    layout.show(volume, foreground=overlay, opacity=1.0)
    image = pixels(layout.slices["Red"].png(tmp_path / "overlay.png"))
    assert (np.ptp(image, axis=2) > 60).sum() > 300


def _matrix(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def test_montage_has_three_slices_and_a_surface(layout, ball, tmp_path):
    import slicer
    import slicer.util

    volume, center, mask = ball
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Tumours")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("", "Lesion", (0.1, 0.9, 0.1))
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment, volume)
    node.CreateClosedSurfaceRepresentation()
    layout.show(volume)
    layout.jump_to(center)

    image = pixels(layout.save_montage(tmp_path / "views.png"))

    assert image.shape == (2 * SIZE[1], 2 * SIZE[0], 3)
    green = (image[:, :, 1] > image[:, :, 0] + 40) & (image[:, :, 1] > image[:, :, 2] + 40)
    for rows in (slice(0, SIZE[1]), slice(SIZE[1], None)):
        for columns in (slice(0, SIZE[0]), slice(SIZE[0], None)):
            assert green[rows, columns].sum() > 100
    threed = image[: SIZE[1], SIZE[0] :]
    assert len(np.unique(threed.reshape(-1, 3), axis=0)) > 100  # the sky's gradient and the shaded surface


def test_the_applications_own_views_are_saved(slicer_app, graphics, ball, tmp_path):
    import host
    import slicer.util

    slicer.util.setSliceViewerLayers(background=ball[0], fit=True)
    image = pixels(host.save_views(tmp_path / "views.png"))
    red = image[: image.shape[0] // 2, : image.shape[1] // 2]
    assert len(np.unique(red)) > 2
    slicer.modules.markups.logic().JumpSlicesToLocation(*ball[1], True)
    image = pixels(host.save_views(tmp_path / "jumped.png"))
    red = image[: image.shape[0] // 2, : image.shape[1] // 2]
    assert (red.min(axis=2) > 200).sum() > 300


def test_the_same_scene_gives_the_same_picture(layout, ball, tmp_path):
    volume, center, _ = ball
    layout.show(volume)
    layout.jump_to(center)
    first = layout.save_montage(tmp_path / "first.png")
    second = layout.save_montage(tmp_path / "second.png")

    assert first.read_bytes() == second.read_bytes()


def test_writing_to_a_folder_that_does_not_exist_raises(layout, ball, tmp_path):
    layout.show(ball[0])
    with pytest.raises(OSError, match=r"nowhere"):
        layout.slices["Red"].png(tmp_path / "nowhere" / "red.png")
