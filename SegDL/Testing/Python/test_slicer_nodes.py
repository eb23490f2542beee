"""Volume nodes to images and back on real MRML nodes: voxels, oblique geometry, transforms, modality."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.host

OBLIQUE = np.array(
    [
        [-0.70, 0.20, 0.35, 41.5],
        [0.25, -0.72, 0.60, -120.25],
        [0.10, 0.30, 2.70, 803.125],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


@pytest.fixture
def volume(scene):
    import slicer.util

    voxels = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) - 900
    return slicer.util.addVolumeFromArray(voxels, OBLIQUE, "CT chest")


def linearTransform(scene):
    import vtk

    transform = vtk.vtkTransform()
    transform.RotateWXYZ(25.0, 1.0, 2.0, 3.0)
    transform.Translate(5.0, -7.0, 11.0)
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    node.SetMatrixTransformToParent(transform.GetMatrix())
    return node


def test_image_has_voxels_and_oblique_geometry_of_the_volume(volume):
    from SegDLLib.nodes import imageFromVolume

    image = imageFromVolume(volume)

    assert image.array.shape == (3, 4, 5)
    assert image.array.dtype == np.int16
    assert image.array[2, 1, 4] == 2 * 20 + 1 * 5 + 4 - 900
    assert np.abs(image.grid.ijk_to_ras - OBLIQUE).max() < 1e-6
    assert (image.modality, image.unit) == ("CT", "HU")


def test_image_is_a_copy(volume):
    import slicer.util
    from SegDLLib.nodes import imageFromVolume

    image = imageFromVolume(volume)
    slicer.util.arrayFromVolume(volume)[:] = 7
    assert image.array[0, 0, 0] == -900


def test_linear_parent_transform_is_part_of_the_grid(scene, volume):
    import vtk
    from SegDLLib.nodes import imageFromVolume
    from slicer.util import arrayFromVTKMatrix

    transform = linearTransform(scene)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    expected = arrayFromVTKMatrix(matrix) @ OBLIQUE

    assert np.abs(imageFromVolume(volume).grid.ijk_to_ras - expected).max() < 1e-6


def test_non_linear_transform_is_refused_by_name(scene, volume):
    import vtk
    from SegDLEngine.errors import InputError
    from SegDLLib.nodes import imageFromVolume

    spline = vtk.vtkThinPlateSplineTransform()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    node.SetAndObserveTransformToParent(spline)
    volume.SetAndObserveTransformNodeID(node.GetID())
    with pytest.raises(InputError, match=r"CT chest.*warp"):
        imageFromVolume(volume)


def test_volume_without_voxels_and_colour_volume_are_refused(scene):
    import slicer.util
    from SegDLEngine.errors import InputError
    from SegDLLib.nodes import imageFromVolume

    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(InputError, match="'nothing' has no voxels"):
        imageFromVolume(empty)
    colour = slicer.util.addVolumeFromArray(
        np.zeros((2, 3, 4, 3), np.uint8), np.eye(4), "photo", "vtkMRMLVectorVolumeNode"
    )
    with pytest.raises(InputError, match="'photo' has 3 components"):
        imageFromVolume(colour)


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64", "bool", "int64", "float16"])
def test_round_trip_keeps_values_and_geometry(scene, kind):
    from SegDLEngine.images.grid import Grid
    from SegDLEngine.images.image import Image
    from SegDLLib.nodes import imageFromVolume, volumeFromImage

    array = (np.arange(24).reshape(2, 3, 4) % 2).astype(kind)
    image = Image(array, Grid.from_ijk_to_ras(OBLIQUE, (4, 3, 2)))
    back = imageFromVolume(volumeFromImage(image, "copy"))

    assert np.array_equal(back.array, array)
    assert np.abs(back.grid.ijk_to_ras - OBLIQUE).max() < 1e-6


def test_placed_as_a_volume_it_shares_matrix_and_transform(scene, volume):
    import slicer.util
    from SegDLEngine.errors import InputError
    from SegDLLib.nodes import imageFromVolume, labelmapFromImage

    volume.SetAndObserveTransformNodeID(linearTransform(scene).GetID())
    image = imageFromVolume(volume)
    labels = labelmapFromImage(
        image.with_array((image.array > -880).astype(np.uint8)), "labels", placeAs=volume
    )

    assert labels.IsA("vtkMRMLLabelMapVolumeNode")
    assert labels.GetTransformNodeID() == volume.GetTransformNodeID()
    assert np.abs(imageFromVolume(labels).grid.ijk_to_ras - image.grid.ijk_to_ras).max() < 1e-6
    assert slicer.util.arrayFromVolume(labels).sum() == (image.array > -880).sum()

    volume.SetOrigin(0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="does not lie on the grid of volume 'CT chest'"):
        labelmapFromImage(image, "moved", placeAs=volume)


@pytest.mark.parametrize(
    ("name", "modality", "unit"),
    [
        ("CTChest", "CT", "HU"),
        ("4: CT thorax 3mm", "CT", "HU"),
        ("SUV_body", "PT", "SUV"),
        ("STS_002_PT", "PT", ""),
        ("BRATS_FLAIR", "MR", ""),
        ("PET registered to CT", "", ""),
        ("Volume_1", "", ""),
    ],
)
def test_modality_and_unit_from_the_name(scene, name, modality, unit):
    from SegDLLib import modality as modalities

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    assert (modalities.modalityOf(node), modalities.unitOf(node)) == (modality, unit)


def test_coded_unit_and_hierarchy_attribute_outrank_the_name(scene):
    import slicer
    from SegDLLib import modality as modalities

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT like")
    unit = slicer.vtkCodedEntry()
    unit.SetValueSchemeMeaning("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
    node.SetVoxelValueUnits(unit)
    assert (modalities.modalityOf(node), modalities.unitOf(node)) == ("PT", "SUV")

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    assert modalities.modalityOf(node) == "MR"


def test_dicom_database_is_asked_by_the_first_instance(scene, monkeypatch):
    import slicer
    from SegDLLib import modality as modalities

    class Database:
        isOpen = True  # noqa: N815

        def instanceValue(self, instance, tag):
            return {("1.2.3", "0008,0060"): "PT", ("1.2.3", "0054,1001"): "BQML"}.get((instance, tag), "")

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "7: AC")
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    assert (modalities.modalityOf(node), modalities.unitOf(node)) == ("PT", "BQML")


def test_inputs_are_guessed_once_each_and_left_open_when_nothing_fits(scene):
    import slicer.util
    from SegDLLib.modality import guessInputs

    add = lambda name: scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)  # noqa: E731
    pet, ct, other = add("SUV"), add("CT thorax"), add("T2w")
    card = [{"name": "CT", "modality": "CT"}, {"name": "PET", "modality": "PT"}]
    assert guessInputs(card, [pet, other, ct]) == {"CT": ct, "PET": pet}
    assert guessInputs(card, [pet]) == {"CT": None, "PET": pet}

    brain = [{"name": name, "modality": "MR"} for name in ("T1", "T1c", "T2", "FLAIR")]
    t1, t1c, flair = add("pat1 T1"), add("pat1 T1c"), add("pat1 flair")
    assert guessInputs(brain, [flair, t1c, t1, other]) == {"T1": t1, "T1c": t1c, "T2": other, "FLAIR": flair}

    unnamed = slicer.util.addVolumeFromArray(np.array([[[-1000, 300]]], np.int16), np.eye(4), "Volume_3")
    assert guessInputs(card, [unnamed])["CT"] is unnamed
