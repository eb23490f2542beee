"""A COVID-19 card in the scene: lungs by U-Net in the worker, then the infection as a coded segment."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytestmark = pytest.mark.host


@pytest.fixture
def segmenter(slicer_app, tmp_path):
    from host import requirements

    if requirements.qt_problem():
        pytest.skip(requirements.qt_problem())
    pytest.importorskip("torch")
    from lung_models import COVID, LUNGS, covid_package, write_lungs_by_threshold
    from SegDLLib.segmenter import Segmenter

    write_lungs_by_threshold(tmp_path / LUNGS)
    covid_package(tmp_path, COVID[2], "unet")
    before = os.environ.get("SEGDL_MODELS")
    os.environ["SEGDL_MODELS"] = str(tmp_path)
    segmenter = Segmenter()
    yield segmenter
    segmenter.shutdown()
    del os.environ["SEGDL_MODELS"]
    if before is not None:
        os.environ["SEGDL_MODELS"] = before


def test_the_infection_is_a_coded_segment_with_an_uncertainty_volume(segmenter):
    import slicer.util
    import vtk
    from lung_models import COVID
    from lung_phantom import lung_phantom

    matrix = np.diag([-2.0, -2.0, 4.0, 1.0])
    volume = slicer.util.addVolumeFromArray(lung_phantom().ct.array[5:7, ::2, ::2].copy(), matrix, "CT")
    node = segmenter.segment({"CT": volume}, COVID[2], samples=2)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 1
    segment = segmentation.GetNthSegment(0)
    assert segment.GetName() == "COVID-19 infection"
    entry = vtk.reference("")
    segment.GetTag("TerminologyEntry", entry)
    assert "882784691000119100" in str(entry)
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentation.GetNthSegmentID(0), volume)
    lungs = lung_phantom().lungs[5:7, ::2, ::2]
    assert 0 < np.count_nonzero(voxels) < 2 * np.count_nonzero(lungs)
    assert segmenter.uncertaintyVolume(node).GetImageData().GetScalarRange()[1] > 0
