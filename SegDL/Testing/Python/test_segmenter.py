"""Volume nodes in, result nodes out, through the real worker with a tiny model; cancel, crash and refusal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.host

MODEL = "tiny-tumor"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A models folder with one tiny package."""
    pytest.importorskip("torch")
    from tiny_model import write_tiny_package

    folder = tmp_path_factory.mktemp("models")
    write_tiny_package(folder / MODEL)
    return folder


@pytest.fixture(scope="module")
def warmSegmenter(models):
    """One Segmenter with one worker for all tests of this file."""
    from host import requirements

    if requirements.qt_problem():
        pytest.skip(requirements.qt_problem())
    import host

    host.start()
    before = os.environ.get("SEGDL_MODELS")
    os.environ["SEGDL_MODELS"] = str(models)
    from SegDLLib.segmenter import Segmenter

    segmenter = Segmenter()
    yield segmenter
    segmenter.shutdown()
    os.environ.pop("SEGDL_MODELS")
    if before is not None:
        os.environ["SEGDL_MODELS"] = before


@pytest.fixture
def segmenter(warmSegmenter, slicer_app):
    yield warmSegmenter
    assert not warmSegmenter.busy
    assert jobFolders(slicer_app) == []


@pytest.fixture
def volume(slicer_app):
    import slicer.util

    k, j, i = np.mgrid[:12, :32, :32]
    voxels = np.full(k.shape, -1000, np.int16)
    voxels[((k - 6) / 7) ** 2 + ((j - 16) / 12) ** 2 + ((i - 16) / 14) ** 2 < 1] = 30
    matrix = np.array(
        [[-3.0, 0.4, 0.0, 50.0], [0.4, -3.0, 0.5, 40.0], [0.0, 0.5, 5.0, -20.0], [0.0, 0.0, 0.0, 1.0]]
    )
    return slicer.util.addVolumeFromArray(voxels, matrix, "CT phantom")


def jobFolders(app) -> list[str]:
    return [entry.name for entry in Path(app.temporaryPath).glob("SegDL-*")]


def nodeIDs() -> set[str]:
    import slicer

    scene = slicer.mrmlScene
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def segmentVoxels(segmentation, volume) -> np.ndarray:
    import slicer.util

    identifier = segmentation.GetSegmentation().GetNthSegmentID(0)
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volume) > 0


def test_models_are_listed_with_what_is_installed(segmenter):
    row = next(row for row in segmenter.models() if row["id"] == MODEL)
    assert row["installed"] is True
    assert row["inputs"] == ["CT"]
    assert segmenter.card(MODEL)["labels"][0]["name"] == "Tumour"


def test_blocking_call_gives_segments_uncertainty_and_lesions(segmenter, volume):
    from SegDLLib.lesion_table import lesionsFromTable

    seen = []
    segmentation = segmenter.segment(
        {"CT": volume}, MODEL, samples=2, device="cpu", onProgress=lambda *what: seen.append(what)
    )

    fractions = [fraction for fraction, _stage, _eta in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {stage for _fraction, stage, _eta in seen} >= {"reading", "inference", "writing"}
    lesions = lesionsFromTable(segmenter.lesionTable(segmentation))
    assert sum(lesion["voxels"] for lesion in lesions) == segmentVoxels(segmentation, volume).sum() > 0
    assert segmenter.uncertaintyVolume(segmentation).GetImageData().GetScalarRange()[1] > 0
    assert segmentation.GetAttribute("SegDL.Model") == MODEL
    assert segmentation.GetAttribute("SegDL.Samples") == "2"


def test_the_process_and_this_process_agree(segmenter, volume):
    outside = segmenter.segment({"CT": volume}, MODEL, samples=0, device="cpu", precision="fp32")
    inside = segmenter.segment(
        {"CT": volume}, MODEL, samples=0, device="cpu", precision="fp32", inProcess=True
    )
    assert np.array_equal(segmentVoxels(outside, volume), segmentVoxels(inside, volume))
    assert segmenter.uncertaintyVolume(outside) is None


def test_provenance_names_the_volume_and_not_the_exchange_file(segmenter, volume):
    from SegDLLib.results import readProvenance

    segmentation = segmenter.segment({"CT": volume}, MODEL, samples=0)
    found = readProvenance(segmentation)["inputs"]["CT"]
    assert found["name"] == "CT phantom"
    assert found["path"] == ""
    assert len(found["identity"]) == 64


def test_callbacks_come_from_the_event_loop(segmenter, volume):
    import host

    heard = []
    job = segmenter.segment({"CT": volume}, MODEL, samples=0, blocking=False, onFinished=heard.append)
    assert segmenter.busy
    assert heard == []
    host.wait_for(lambda: heard, 60)
    assert heard[0].IsA("vtkMRMLSegmentationNode")
    assert not job.active


def test_a_region_keeps_the_result_inside(segmenter, volume, slicer_app):
    import slicer

    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "half")
    middle = [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)]
    roi.SetCenterWorld([middle[0], middle[1], bounds[4]])
    roi.SetSizeWorld([bounds[1] - bounds[0], bounds[3] - bounds[2], bounds[5] - bounds[4]])
    whole = segmentVoxels(segmenter.segment({"CT": volume}, MODEL, samples=0), volume)
    part = segmentVoxels(segmenter.segment({"CT": volume}, MODEL, samples=0, roi=roi), volume)
    assert whole[-2:].any()
    assert not part[-2:].any()
    assert part.any()


def test_what_cannot_be_used_is_refused_before_anything_starts(segmenter, volume, slicer_app):
    import slicer
    from SegDLEngine.errors import InputError, ModelError

    before = nodeIDs()
    with pytest.raises(InputError, match="'CT' is missing"):
        segmenter.segment({"CT": None}, MODEL)
    with pytest.raises(InputError, match="no input 'PET'"):
        segmenter.segment({"CT": volume, "PET": volume}, MODEL)
    with pytest.raises(ModelError, match="no model 'nothing'"):
        segmenter.segment({"CT": volume}, "nothing")
    with pytest.raises(InputError, match="samples"):
        segmenter.segment({"CT": volume}, MODEL, samples=-3)
    with pytest.raises(InputError, match="device"):
        segmenter.segment({"CT": volume}, MODEL, device="abacus")
    assert nodeIDs() == before

    suv = slicer.vtkCodedEntry()
    suv.SetValueSchemeMeaning("{SUVbw}g/ml", "UCUM", "SUV")
    volume.SetVoxelValueUnits(suv)
    with pytest.raises(InputError, match="needs HU, but volume 'CT phantom' is in SUV"):
        segmenter.segment({"CT": volume}, MODEL)


def test_an_engine_error_arrives_as_one_readable_error(segmenter, slicer_app):
    import slicer.util
    from SegDLEngine.errors import SegDLError

    broken = slicer.util.addVolumeFromArray(np.full((6, 16, 16), np.nan, np.float32), np.eye(4), "CT broken")
    before = nodeIDs()
    with pytest.raises(SegDLError) as caught:
        segmenter.segment({"CT": broken}, MODEL, samples=0)
    assert caught.value.text
    assert "Traceback" not in caught.value.text
    assert nodeIDs() == before


def startLongJob(segmenter, volume):
    """Begin a job of many samples and wait until it computes; the list of its errors to come."""
    import host

    errors, seen = [], []
    segmenter.segment(
        {"CT": volume},
        MODEL,
        samples=500,
        blocking=False,
        onProgress=lambda *what: seen.append(what),
        onError=errors.append,
    )
    host.wait_for(lambda: any(stage == "inference" for _f, stage, _e in seen), 60)
    return errors


def test_cancel_leaves_no_trace_and_a_warm_worker(segmenter, volume):
    import host
    from SegDLEngine.errors import Cancelled

    segmenter.segment({"CT": volume}, MODEL, samples=0)
    pid, before = segmenter.engine.pid, nodeIDs()
    errors = startLongJob(segmenter, volume)
    segmenter.cancel()
    host.wait_for(lambda: errors, 30)

    assert isinstance(errors[0], Cancelled)
    assert nodeIDs() == before
    assert segmenter.engine.pid == pid, "the worker should have obeyed in time"
    assert segmenter.segment({"CT": volume}, MODEL, samples=0) is not None


def test_an_exception_of_the_progress_callback_stops_the_job(segmenter, volume):
    before = nodeIDs()

    def stop(fraction, stage, eta):
        if stage == "inference":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segmenter.segment({"CT": volume}, MODEL, samples=500, onProgress=stop)
    assert nodeIDs() == before
    assert not segmenter.busy


def test_killed_worker_is_one_readable_error_and_the_next_run_works(segmenter, volume):
    import host

    errors = startLongJob(segmenter, volume)
    os.kill(segmenter.engine.pid, 9)
    host.wait_for(lambda: errors, 30)

    assert errors[0].code == "engine_died"
    assert "scene was not changed" in errors[0].text
    assert errors[0].hint
    assert segmenter.segment({"CT": volume}, MODEL, samples=0) is not None


def test_a_worker_that_left_when_it_was_asked_is_started_again(segmenter, volume):
    """The idle time may end at the moment of the click: the command is lost, not the job."""
    segmenter.segment({"CT": volume}, MODEL, samples=0)
    pid = segmenter.engine.pid
    segmenter.engine.send({"command": "shutdown"})
    assert segmenter.segment({"CT": volume}, MODEL, samples=0) is not None
    assert segmenter.engine.pid != pid


def test_only_one_at_a_time(segmenter, volume):
    import host
    from SegDLEngine.errors import SegDLError

    errors = []
    segmenter.segment({"CT": volume}, MODEL, samples=500, blocking=False, onError=errors.append)
    with pytest.raises(SegDLError, match="is running"):
        segmenter.segment({"CT": volume}, MODEL)
    segmenter.cancel()
    host.wait_for(lambda: errors, 30)


def test_volume_removed_meanwhile_is_an_error(segmenter, volume):
    import host
    import slicer

    errors = []
    segmenter.segment({"CT": volume}, MODEL, samples=0, blocking=False, onError=errors.append)
    slicer.mrmlScene.RemoveNode(volume)
    host.wait_for(lambda: errors, 60)
    assert "'CT phantom' was removed" in errors[0].text


def test_a_logic_made_for_one_call_leaves_no_process(models, slicer_app, volume, monkeypatch):
    import gc

    import host
    from SegDLLib.process_tree import descendants
    from SegDLLib.segmenter import Segmenter

    monkeypatch.setenv("SEGDL_MODELS", str(models))
    before = set(descendants(os.getpid()))
    heard = []
    Segmenter().segment({"CT": volume}, MODEL, samples=0, blocking=False, onFinished=heard.append)
    gc.collect()
    host.wait_for(lambda: heard, 60)
    gc.collect()
    host.wait_for(lambda: set(descendants(os.getpid())) <= before, 10)


@pytest.mark.real_data
def test_shipped_model_finds_the_tumour_of_a_real_ct(segmenter, slicer_app):
    import slicer.util
    from realdata import real_file
    from SegDLEngine.images.reading import read_image, read_labels
    from SegDLLib.nodes import volumeFromImage
    from SegDLLib.segmenter import DEFAULT_MODEL

    if not any(row["installed"] for row in segmenter.models() if row["id"] == DEFAULT_MODEL):
        pytest.skip(f"the shipped model {DEFAULT_MODEL} has no weights here")
    image = read_image(real_file("lung", "LUNG1-001", "ct_small_2x2x3.nii.gz"))
    tumour = read_labels(real_file("lung", "LUNG1-001", "labels_small_2x2x3.nii.gz")).array == 3
    volume = volumeFromImage(image, "CT chest")
    segmentation = segmenter.segment({"CT": volume}, DEFAULT_MODEL, samples=0)
    found = segmentVoxels(segmentation, volume)
    assert (found & tumour).sum() > 0.1 * tumour.sum()
    assert slicer.util.getNodesByClass("vtkMRMLTableNode") == [segmenter.lesionTable(segmentation)]


def test_shutdown_ends_a_running_job_quietly(models, slicer_app, volume, monkeypatch):
    from SegDLLib.segmenter import Segmenter

    monkeypatch.setenv("SEGDL_MODELS", str(models))
    segmenter, errors = Segmenter(), []
    segmenter.segment({"CT": volume}, MODEL, samples=500, blocking=False, onError=errors.append)
    pid = segmenter.engine.pid
    segmenter.shutdown()
    assert not segmenter.busy
    assert jobFolders(slicer_app) == []
    assert errors == []
    if sys.platform.startswith("linux"):
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
