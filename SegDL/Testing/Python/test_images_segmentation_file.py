"""The .seg.nrrd: what Slicer reads out of it, and what we read out of Slicer's."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_labels
from SegDLEngine.images.segmentation_file import (
    is_segmentation,
    parse_terminology,
    read_segmentation,
    terminology_string,
    write_segmentation,
)

TUMOUR = {
    "category": {"scheme": "SCT", "code": "49755003", "meaning": "Morphologically Altered Structure"},
    "type": {"scheme": "SCT", "code": "86049000", "meaning": "Neoplasm, Primary"},
    "region": {"scheme": "SCT", "code": "39607008", "meaning": "Lung"},
}
CARD_LABELS = [
    {"value": 1, "name": "Lung tumour: größer", "color": [230, 51, 26], "terminology": TUMOUR},
    {"value": 3, "name": "Node", "color": [10, 200, 30]},
    {"value": 4, "name": "Absent", "color": [0, 0, 255]},
]
CODED = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^49755003^Morphologically Altered Structure~SCT^86049000^Neoplasm, Primary~^^"
    "~Anatomic codes - DICOM master list~SCT^39607008^Lung~^^"
)


@pytest.fixture
def labels() -> Image:
    angle = 0.3
    axes = (np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1)
    array = np.zeros((6, 8, 10), np.uint8)
    array[1:4, 2:5, 3:7] = 1
    array[4, 6, 7:9] = 3
    return Image(array, Grid((10, 8, 6), (0.7, 0.8, 2.5), (-10.5, 20.25, 300.125), axes))


def test_round_trip(tmp_path, labels):
    path = write_segmentation(labels, CARD_LABELS, tmp_path / "a.seg.nrrd", metadata={"SegDL.Model": "m 1"})
    back = read_segmentation(path)
    assert np.array_equal(back.labels.array, labels.array)
    assert back.labels.grid.matches(labels.grid, 1e-9)
    for segment, entry in zip(back.segments, CARD_LABELS, strict=True):
        assert {key: segment[key] for key in ("value", "name", "color")} == {
            key: entry[key] for key in ("value", "name", "color")
        }
        assert segment["terminology"] == entry.get("terminology", {})
    assert is_segmentation(path)
    assert np.array_equal(read_labels(path).array, labels.array)
    assert SimpleITK.ReadImage(str(path)).GetMetaData("SegDL.Model") == "m 1"


def test_terminology_text():
    assert terminology_string(TUMOUR) == CODED
    assert parse_terminology(CODED) == TUMOUR
    assert terminology_string(None) == terminology_string({}) == ""


def test_value_without_entry_and_wrong_extension(tmp_path, labels):
    with pytest.raises(ValueError, match=r"\[3\]"):
        write_segmentation(labels, CARD_LABELS[:1], tmp_path / "a.seg.nrrd")
    with pytest.raises(InputError, match="extension"):
        write_segmentation(labels, CARD_LABELS, tmp_path / "a.nrrd")
    assert list(tmp_path.iterdir()) == []


def layered_file(path, layers, keys) -> None:
    stored = SimpleITK.GetImageFromArray(np.stack(layers, axis=-1), isVector=True)
    for key, value in keys.items():
        stored.SetMetaData(key, value)
    SimpleITK.WriteImage(stored, str(path), True)


def test_overlapping_layers_with_one_value(tmp_path):
    first, second = np.zeros((2, 4, 5, 6), np.uint8)
    first[1:3, 1:4, 1:4] = 1
    second[2, 2:4, 2:5] = 1
    keys = {"Segment0_ID": "a", "Segment0_Name": "A", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    keys |= {"Segment1_ID": "b", "Segment1_Name": "B", "Segment1_LabelValue": "1", "Segment1_Layer": "1"}
    layered_file(tmp_path / "o.seg.nrrd", (first, second), keys)
    warnings = []
    back = read_segmentation(tmp_path / "o.seg.nrrd", warn=lambda code, text: warnings.append((code, text)))
    assert np.array_equal(back.labels.array, np.where(second, 2, first))
    assert [segment["value"] for segment in back.segments] == [1, 2]
    assert warnings[0][0] == "overlap" and "(4 voxels)" in warnings[0][1]


def test_segment_in_a_missing_layer(tmp_path):
    plain = np.zeros((4, 5, 6), np.uint8)
    keys = {"Segment0_ID": "a", "Segment0_Layer": "5", "Segment0_LabelValue": "1"}
    layered_file(tmp_path / "m.seg.nrrd", (plain, plain), keys)
    with pytest.raises(InputError, match="layer that does not exist"):
        read_segmentation(tmp_path / "m.seg.nrrd")


@pytest.mark.host
def test_slicer_reads_names_colours_codes_and_voxels(tmp_path, labels):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    vtk = pytest.importorskip("vtk")
    from vtk.util.numpy_support import vtk_to_numpy

    path = write_segmentation(labels, CARD_LABELS, tmp_path / "a.seg.nrrd", metadata={"SegDL.Model": "m"})
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    for index, entry in enumerate(CARD_LABELS):
        segment = segmentation.GetNthSegment(index)
        assert segmentation.GetNthSegmentID(index) == f"Segment_{entry['value']}"
        assert segment.GetName() == entry["name"]
        assert segment.GetColor() == pytest.approx([channel / 255 for channel in entry["color"]], abs=1e-5)
        assert segment.GetLabelValue() == entry["value"]
        tag = vtk.reference("")
        segment.GetTag("TerminologyEntry", tag)
        assert (str(tag.get()) == CODED) == (index == 0)
        voxels = segment.GetRepresentation("Binary labelmap")
        array = vtk_to_numpy(voxels.GetPointData().GetScalars()).reshape(labels.array.shape)
        assert np.array_equal(array == entry["value"], labels.array == entry["value"])
        matrix = vtk.vtkMatrix4x4()
        voxels.GetImageToWorldMatrix(matrix)
        found = [[matrix.GetElement(row, column) for column in range(4)] for row in range(4)]
        assert np.abs(np.asarray(found) - labels.grid.ijk_to_ras).max() < 1e-9
    reference = segmentation.GetConversionParameter("Reference image geometry").split(";")
    assert np.allclose(np.asarray(reference[:16], float), labels.grid.ijk_to_ras.ravel(), atol=1e-9)
    assert reference[16:22] == ["0", "9", "0", "7", "0", "5"]

    storage.SetFileName(str(tmp_path / "slicer.seg.nrrd"))
    assert storage.WriteData(node) == 1
    back = read_segmentation(tmp_path / "slicer.seg.nrrd")
    assert np.array_equal(back.labels.array, labels.array)
    assert [segment["name"] for segment in back.segments] == [entry["name"] for entry in CARD_LABELS]
    assert back.segments[0]["terminology"] == TUMOUR
