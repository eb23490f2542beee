"""Export of the scene's cases from the event loop: the window stays alive, and no end leaves half a file."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from tiny_model import tiny_card

pytestmark = pytest.mark.host

SLOW = 0.4


@pytest.fixture
def task(slicer_app, tmp_path):
    """An export of one case that has not been started; its ends are in ``task.ends``."""
    import slicer.util
    from SegDLEngine.models.card import ModelCard
    from SegDLLib.training.export_task import ExportTask

    volume = slicer.util.addVolumeFromArray(np.zeros((8, 16, 20), np.int16), np.eye(4), "CT 1")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("", "Tumour")
    mask = np.zeros((8, 16, 20), np.uint8)
    mask[2:5, 3:9, 4:16] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
    made = ExportTask(ModelCard(tiny_card()), tmp_path / "cases")
    made.ends = []
    made.finished.connect(made.ends.append)
    made.failed.connect(made.ends.append)
    yield made
    assert not made.active
    assert not [thread for thread in threading.enumerate() if thread.name == "SegDL writer"]


@pytest.fixture
def slowWriter(monkeypatch):
    """Makes each image file take its time; gives the names of the threads that write."""
    from SegDLEngine.images import writing

    write, threads = writing.write_image, []

    def slow(*words, **options):
        threads.append(threading.current_thread().name)
        time.sleep(SLOW)
        return write(*words, **options)

    monkeypatch.setattr(writing, "write_image", slow)
    return threads


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def waitForEnd(task):
    import host

    host.wait_for(lambda: task.ends, 20, "the end of the export")


def test_the_event_loop_runs_while_files_are_written(task, slowWriter, tmp_path):
    import qt

    ticks, progress = [], []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: ticks.append(1))
    task.progressed.connect(lambda fraction, *_: progress.append(fraction))
    timer.start(20)
    task.start()
    waitForEnd(task)
    timer.stop()
    assert task.ends == [tmp_path / "cases" / "cases.json"]
    assert files(tmp_path / "cases") == ["CT_1/CT.nrrd", "CT_1/labels.seg.nrrd", "cases.json"]
    assert set(slowWriter) == {"SegDL writer"}
    assert len(ticks) > SLOW / 0.1
    assert progress == [0, 0.5, 1]


@pytest.mark.parametrize("end", ["stop", "discard"])
def test_an_export_that_ends_early_leaves_whole_files_only(task, slowWriter, tmp_path, end):
    import host
    from SegDLEngine.errors import Cancelled

    task.start()
    host.wait_for(lambda: slowWriter, 20)
    getattr(task, end)()
    if end == "stop":
        waitForEnd(task)
        assert isinstance(task.ends[0], Cancelled)
    assert files(tmp_path / "cases") == ["CT_1/CT.nrrd"]
    assert len(task.ends) == (end == "stop")


def test_a_scene_that_is_closed_meanwhile_is_named(task, slowWriter, tmp_path):
    import host
    import slicer

    task.start()
    host.wait_for(lambda: slowWriter, 20)
    slicer.mrmlScene.Clear(0)
    waitForEnd(task)
    assert task.ends[0].text == "'CT 1' was removed while the scene was exported."
    assert "cases.json" not in files(tmp_path / "cases")


def test_a_segment_without_voxels_is_named_once(task):
    import slicer
    import vtk

    node = slicer.util.getNode("drawn")
    node.GetSegmentation().RemoveAllSegments()
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    segment = slicer.vtkSegment()
    segment.SetName("Tumour")
    segment.AddRepresentation("Planar contour", vtk.vtkPolyData())
    node.GetSegmentation().AddSegment(segment)
    task.start()
    waitForEnd(task)
    assert task.ends[0].text == "The segment 'Tumour' of 'drawn' has no binary labelmap."


def test_a_folder_that_cannot_be_made_is_named(task, tmp_path):
    (tmp_path / "cases").write_text("in the way")
    task.start()
    waitForEnd(task)
    assert f"'{tmp_path / 'cases' / 'CT_1'}' cannot be made" in task.ends[0].text


def test_a_full_disk_is_one_sentence(task, monkeypatch):
    import SimpleITK

    def full(_image, path, *_):
        with open(path, "wb"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(SimpleITK, "WriteImage", full)
    task.start()
    waitForEnd(task)
    assert "CT.nrrd' cannot be written: No space left on device" in task.ends[0].text
    assert "free space" in task.ends[0].hint
