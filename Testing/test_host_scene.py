"""The host's scene: nodes, logics, subject hierarchy and files, through slicer.util of the wheel."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

pytestmark = pytest.mark.host

ANGLE = np.radians(20.0)
ROTATION = np.array(
    [[np.cos(ANGLE), -np.sin(ANGLE), 0.0], [np.sin(ANGLE), np.cos(ANGLE), 0.0], [0.0, 0.0, 1.0]]
) @ np.array([[-1.0, 0.0, 0.0], [0.0, -np.cos(ANGLE), np.sin(ANGLE)], [0.0, np.sin(ANGLE), np.cos(ANGLE)]])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = ROTATION * np.array([0.8, 1.1, 2.5])
OBLIQUE[:3, 3] = (30.0, -12.5, 100.0)


@pytest.fixture
def volume(scene):
    import slicer.util

    voxels = np.arange(6 * 8 * 10, dtype=np.int16).reshape(6, 8, 10) - 100
    return slicer.util.addVolumeFromArray(voxels, OBLIQUE, "CT")


@pytest.fixture
def segmentation(scene, volume):
    import slicer.util

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Tumours")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    mask = np.zeros((6, 8, 10), np.uint8)
    mask[2:4, 3:6, 4:9] = 1
    segment = node.GetSegmentation().AddEmptySegment("", "Lesion", (0.9, 0.2, 0.1))
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
    return node


def test_scene_starts_empty_but_with_the_applications_singletons(scene):
    import slicer

    assert scene is slicer.mrmlScene is slicer.app.mrmlScene()
    assert scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSelectionNode") == 1
    assert scene.GetNodeByID("vtkMRMLColorTableNodeGrey") is not None
    assert slicer.modules.volumes.logic().IsA("vtkSlicerVolumesLogic")
    assert slicer.app.moduleLogic("Segmentations").IsA("vtkSlicerSegmentationsModuleLogic")


def test_data_nodes_get_and_lose_their_subject_hierarchy_item(scene, volume):
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(volume)

    assert hierarchy.GetItemName(item) == "CT"
    count = hierarchy.GetNumberOfItems()
    scene.RemoveNode(volume)
    assert hierarchy.GetNumberOfItems() == count - 1


def test_segment_round_trip_through_a_file(scene, segmentation, volume, tmp_path):
    import slicer.util

    path = tmp_path / "lesion.seg.nrrd"
    slicer.util.saveNode(segmentation, str(path))
    loaded = slicer.util.loadSegmentation(str(path))

    segment = loaded.GetSegmentation().GetNthSegment(0)
    assert (segment.GetName(), loaded.GetSegmentation().GetNumberOfSegments()) == ("Lesion", 1)
    assert np.allclose(segment.GetColor(), (0.9, 0.2, 0.1), atol=1e-6)
    segment_id = loaded.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(loaded, segment_id, volume)
    assert mask.sum() == 2 * 3 * 5


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.nii.gz", "ct.mha"])
def test_volume_round_trip_keeps_voxels_and_oblique_geometry(volume, tmp_path, name):
    import slicer.util
    import vtk

    slicer.util.saveNode(volume, str(tmp_path / name))
    loaded = slicer.util.loadVolume(str(tmp_path / name))

    matrix = vtk.vtkMatrix4x4()
    loaded.GetIJKToRASMatrix(matrix)
    assert np.array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(volume))
    assert (
        np.abs(slicer.util.arrayFromVTKMatrix(matrix) - OBLIQUE).max() < 1e-5
    )  # NIfTI keeps single precision
    assert loaded.GetDisplayNode() is not None


def test_loading_a_missing_file_raises(scene, tmp_path):
    import slicer.util

    with pytest.raises(RuntimeError, match=r"absent\.nrrd"):
        slicer.util.loadVolume(str(tmp_path / "absent.nrrd"))


def test_loading_a_broken_file_raises_and_leaves_no_node(scene, tmp_path):
    import slicer.util

    path = tmp_path / "broken.nrrd"
    path.write_text("no image")
    before = scene.GetNumberOfNodes()
    with pytest.raises(RuntimeError, match=r"broken\.nrrd"):
        slicer.util.loadVolume(str(path))
    assert scene.GetNumberOfNodes() == before


def test_scene_bundle_round_trip(scene, volume, segmentation, tmp_path):
    import slicer.util

    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Lesions")
    column = table.AddColumn()
    column.SetName("volume_ml")
    table.AddEmptyRow()
    table.SetCellText(0, 0, "12.5")
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))

    slicer.util.loadScene(str(path), {"clear": True})

    loaded = slicer.util.getNode("Lesions")
    assert (loaded.GetColumnName(0), loaded.GetCellText(0, 0)) == ("volume_ml", "12.5")
    tumours = slicer.util.getNode("Tumours")
    segment_id = tumours.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(tumours, segment_id, slicer.util.getNode("CT"))
    assert mask.sum() == 2 * 3 * 5
    assert scene.GetSubjectHierarchyNode().GetItemByDataNode(tumours) != 0


def test_a_folder_of_slicers_kits_can_be_imported_by_their_old_names(scene):
    import vtkITK
    import vtkSegmentationCorePython

    assert hasattr(vtkITK, "vtkITKArchetypeImageSeriesReader")
    assert hasattr(vtkSegmentationCorePython, "vtkSegmentation")


def test_python_launcher_is_on_the_path_and_runs_this_interpreter(scene):
    launcher = shutil.which("PythonSlicer")

    assert launcher is not None
    done = subprocess.run(
        [launcher, "-c", "import numpy, sys; print(sys.argv[1:])", "a b", "c"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "['a b', 'c']"


def test_sample_data_and_packages_are_recorded(scene, tmp_path):
    import SampleData
    from host import services
    from slicer.packaging import load_requirements, pip_check, pip_ensure

    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# engine\nnumpy>=1.2  # arrays\n\npytest\n")
    assert load_requirements(requirements) == ["numpy>=1.2", "pytest"]
    assert pip_check(["numpy>=1.2", "pytest"])
    assert not pip_check("numpy>=900")
    assert not pip_check("no-such-package-at-all")
    pip_ensure(["numpy"], requester="test")
    with pytest.raises(RuntimeError, match="declined"):
        pip_ensure(["no-such-package-at-all"], requester="test")

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SegDL", sampleName="Chest", uris="file:x", fileNames="x.nrrd", nodeNames="Chest"
    )
    assert services.sample_data[-1].fileNames == ["x.nrrd"]
    with pytest.raises(ValueError, match="thumbnail"):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="SegDL", sampleName="Chest", thumbnailFileName=str(tmp_path / "none.png")
        )
