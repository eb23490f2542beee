"""A result into the scene: coded segments, geometry, place, uncertainty, lesions; saved and read back."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.host

TUMOUR = {
    "value": 1,
    "name": "Lung tumour",
    "color": [214, 96, 77],
    "terminology": {
        "category": {"scheme": "SCT", "code": "49755003", "meaning": "Morphologically Altered Structure"},
        "type": {"scheme": "SCT", "code": "86049000", "meaning": "Neoplasm, Primary"},
        "region": {"scheme": "SCT", "code": "39607008", "meaning": "Lung"},
    },
}
NODE = {"value": 4, "name": "Lymph node", "color": [68, 131, 98]}
PROVENANCE = {
    "model": {"id": "lung-x", "version": "1.2.0", "sha256": "ab12"},
    "engine": "0.1.0",
    "device": "cpu",
    "precision": "float32",
    "samples": 5,
    "seed": 0,
    "time": "2026-01-01T00:00:00Z",
    "inputs": {"CT": {"path": 'C:\\data\\a;b "c".nrrd'}},
}
LESION = {
    "label": 1,
    "name": "Lung tumour",
    "component": 1,
    "voxels": 60,
    "volume_ml": 0.25,
    "long_axis_mm": 12.5,
    "perpendicular_mm": 8.0,
    "mean": 31.5,
    "minimum": -20.0,
    "maximum": 90.0,
    "suv_mean": None,
    "suv_max": None,
    "mean_uncertainty": None,
    "centroid_ras": [10.0, -20.0, 30.0],
}


@pytest.fixture
def volume(scene):
    import slicer
    import slicer.util

    matrix = np.diag([-0.8, -0.9, 2.0, 1.0])
    matrix[:3, :3] = np.array([[-0.8, 0.1, 0.0], [0.1, -0.9, 0.3], [0.0, 0.2, 2.0]])
    matrix[:3, 3] = [40.0, 60.5, -300.25]
    node = slicer.util.addVolumeFromArray(np.full((8, 16, 20), -700, np.int16), matrix, "CT")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, study)
    else:
        hierarchy.CreateItem(study, node)
    return node


def resultFor(volume, *, labels=None, cardLabels=(TUMOUR, NODE), maps=True):
    from SegDLEngine.result import Result
    from SegDLLib.nodes import imageFromVolume

    image = imageFromVolume(volume)
    if labels is None:
        labels = np.zeros(image.array.shape, np.uint8)
        labels[2:5, 4:8, 5:10] = 1
    std = np.zeros(image.array.shape, np.float32)
    std[2:5, 4:8, 5:10] = np.linspace(0.0, 0.25, 60, dtype=np.float32).reshape(3, 4, 5)
    found = {"mean": image.with_array(labels.astype(np.float32))}
    if maps:
        found["std"] = image.with_array(std)
    return Result(image.with_array(labels), found, [LESION], {"labels": list(cardLabels)}, dict(PROVENANCE))


def segmentNamed(segmentation, name):
    segments = segmentation.GetSegmentation()
    return segments.GetSegment(segments.GetSegmentIdBySegmentName(name))


def test_segments_have_voxels_names_colours_and_codes(volume):
    import slicer.util
    from SegDLLib.results import importResult

    result = resultFor(volume)
    segmentation = importResult(result, volume).segmentation
    segments = segmentation.GetSegmentation()

    assert [segments.GetNthSegment(index).GetName() for index in range(2)] == ["Lung tumour", "Lymph node"]
    tumour = segmentNamed(segmentation, "Lung tumour")
    assert np.allclose(tumour.GetColor(), np.array([214, 96, 77]) / 255, atol=1e-6)
    assert (
        "SCT^49755003^Morphologically Altered Structure~SCT^86049000^Neoplasm, Primary"
        in tumour.GetTerminology()
    )
    assert tumour.GetTerminology().endswith("SCT^39607008^Lung~^^")
    identifier = segments.GetSegmentIdBySegmentName("Lung tumour")
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volume)
    assert np.array_equal(voxels > 0, result.labels.array == 1)


def test_label_absent_from_the_image_is_an_empty_segment(volume):
    import slicer.util
    from SegDLLib.results import importResult

    nothing = np.zeros((8, 16, 20), np.uint8)
    segmentation = importResult(resultFor(volume, labels=nothing), volume).segmentation
    segments = segmentation.GetSegmentation()

    assert segments.GetNumberOfSegments() == 2
    assert "SCT^86049000" in segmentNamed(segmentation, "Lung tumour").GetTerminology()
    identifier = segments.GetSegmentIdBySegmentName("Lung tumour")
    assert slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volume).sum() == 0


def test_every_label_keeps_its_voxels_when_only_the_second_is_present(volume):
    import slicer.util
    from SegDLLib.results import importResult

    labels = np.zeros((8, 16, 20), np.uint8)
    labels[1:3, 2:5, 3:9] = 4
    segmentation = importResult(resultFor(volume, labels=labels), volume).segmentation
    segments = segmentation.GetSegmentation()

    assert [segments.GetNthSegment(index).GetName() for index in range(2)] == ["Lung tumour", "Lymph node"]
    identifier = segments.GetSegmentIdBySegmentName("Lymph node")
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volume)
    assert np.array_equal(voxels > 0, labels == 4)
    assert np.allclose(segments.GetSegment(identifier).GetColor(), np.array([68, 131, 98]) / 255, atol=1e-6)


def test_reference_geometry_transform_and_place_are_the_volumes(scene, volume):
    import slicer
    import vtk
    from SegDLLib.results import importResult

    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turn")
    matrix = vtk.vtkTransform()
    matrix.RotateZ(30.0)
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    volume.SetAndObserveTransformNodeID(transform.GetID())
    nodes = importResult(resultFor(volume), volume)

    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert nodes.segmentation.GetNodeReference(role) is volume
    assert nodes.segmentation.GetTransformNodeID() == volume.GetTransformNodeID()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(volume))
    assert hierarchy.GetItemName(study) == "study"
    for node in (nodes.segmentation, nodes.uncertainty, nodes.lesions):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_closed_surface_lies_inside_the_volume(volume):
    from SegDLLib.results import importResult

    segmentation = importResult(resultFor(volume), volume, closedSurface=True).segmentation
    surface = segmentNamed(segmentation, "Lung tumour").GetRepresentation("Closed surface")
    assert surface.GetNumberOfPoints() > 20
    bounds, outer = [0.0] * 6, [0.0] * 6
    surface.GetBounds(bounds)
    volume.GetRASBounds(outer)
    assert all(outer[axis] <= bounds[axis] and bounds[axis + 1] <= outer[axis + 1] for axis in (0, 2, 4))


def test_uncertainty_is_a_windowed_float_volume_with_zero_transparent(volume):
    import slicer.util
    from SegDLLib.results import importResult
    from SegDLLib.uncertainty import setThreshold, thresholdOf

    result = resultFor(volume)
    node = importResult(result, volume).uncertainty
    display = node.GetDisplayNode()

    assert slicer.util.arrayFromVolume(node).dtype == np.float32
    assert np.array_equal(slicer.util.arrayFromVolume(node), result.maps["std"].array)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((0.0, 0.25))
    assert display.GetApplyThreshold() == 1
    assert 0.0 < thresholdOf(node) < 0.25
    setThreshold(node, 0.0)
    assert 0.0 < thresholdOf(node) < 1e-5
    assert node.GetVoxelValueQuantity().GetCodeValue() == "386136009"
    assert node.GetVoxelValueUnits().GetCodingSchemeDesignator() == "UCUM"


def test_without_monte_carlo_there_is_no_uncertainty_volume(volume):
    from SegDLLib.results import importResult

    assert importResult(resultFor(volume, maps=False), volume).uncertainty is None


def test_overlay_comes_and_goes_without_touching_other_layers(scene, volume):
    from SegDLLib.results import importResult
    from SegDLLib.uncertainty import hideOverlay, showOverlay

    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetBackgroundVolumeID(volume.GetID())
    node = importResult(resultFor(volume), volume).uncertainty
    showOverlay(node, 0.4)
    assert composite.GetForegroundVolumeID() == node.GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    hideOverlay(node)
    assert composite.GetForegroundVolumeID() is None
    assert composite.GetBackgroundVolumeID() == volume.GetID()
    composite.SetForegroundVolumeID(volume.GetID())
    hideOverlay(node)
    assert composite.GetForegroundVolumeID() == volume.GetID()


def test_lesions_have_typed_columns_and_come_back_as_rows(volume):
    from SegDLLib.lesion_table import lesionsFromTable
    from SegDLLib.results import importResult

    node = importResult(resultFor(volume), volume).lesions
    kinds = {
        node.GetTable().GetColumn(index).GetName(): node.GetTable().GetColumn(index).GetDataTypeAsString()
        for index in range(node.GetNumberOfColumns())
    }
    assert (kinds["voxels"], kinds["volume_ml"], kinds["name"]) == ("int", "double", "string")
    assert node.GetColumnUnitLabel("long_axis_mm") == "mm"
    assert lesionsFromTable(node) == [LESION]


def test_center_on_moves_every_slice(scene):
    from SegDLLib.lesion_table import centerOn

    slices = []
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        node = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        node.SetLayoutName(name)
        node.SetOrientation(orientation)
        slices.append(node)
    centerOn([10.0, -20.0, 30.0])
    for node in slices:
        matrix = node.GetSliceToRAS()
        assert [matrix.GetElement(row, 3) for row in range(3)] == pytest.approx([10.0, -20.0, 30.0])
    with pytest.raises(ValueError, match="three finite coordinates"):
        centerOn([1.0, float("nan"), 2.0])


def test_all_of_it_survives_a_saved_scene(scene, volume, tmp_path):
    import slicer.util
    from SegDLLib import results
    from SegDLLib.lesion_table import lesionsFromTable
    from SegDLLib.uncertainty import thresholdOf

    nodes = results.importResult(resultFor(volume), volume, name="tumour of A")
    threshold = thresholdOf(nodes.uncertainty)
    path = str(tmp_path / "scene.mrb")
    assert scene.WriteToMRB(path)
    scene.Clear(0)
    assert scene.ReadFromMRB(path)

    segmentation = slicer.util.getNode("tumour of A")
    assert segmentation.GetAttribute("SegDL.Model") == "lung-x"
    assert results.readProvenance(segmentation) == PROVENANCE
    assert "SCT^86049000" in segmentNamed(segmentation, "Lung tumour").GetTerminology()
    assert lesionsFromTable(segmentation.GetNodeReference(results.TABLE_ROLE)) == [LESION]
    uncertainty = segmentation.GetNodeReference(results.UNCERTAINTY_ROLE)
    assert thresholdOf(uncertainty) == pytest.approx(threshold)


def test_a_failure_leaves_the_scene_as_it_was(scene, volume):
    from SegDLEngine.errors import InputError
    from SegDLLib.results import importResult

    result = resultFor(volume)
    before = [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]
    broken = dict(LESION, voxels="many")
    result.lesions[:] = [broken]
    with pytest.raises(ValueError):
        importResult(result, volume)
    volume.SetOrigin(1.0, 2.0, 3.0)
    with pytest.raises(InputError, match="grid of volume 'CT'"):
        importResult(resultFor_moved(result), volume)
    assert [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())] == before


def resultFor_moved(result):
    """The same result with a sound table; its grid is no longer the volume's."""
    from dataclasses import replace

    return replace(result, lesions=[LESION])


def test_only_the_result_is_added(scene, volume):
    from SegDLLib.results import importResult

    before = {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
    importResult(resultFor(volume), volume)
    added = {
        scene.GetNthNode(index).GetClassName()
        for index in range(scene.GetNumberOfNodes())
        if scene.GetNthNode(index).GetID() not in before
    }
    assert added == {
        "vtkMRMLSegmentationNode",
        "vtkMRMLSegmentationDisplayNode",
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLScalarVolumeDisplayNode",
        "vtkMRMLTableNode",
    }
