"""All classes of every shipped card as coded segments in the scene."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.host


def shipped_cards():
    from SegDLEngine.models.card import CARD_FILE
    from SegDLEngine.models.catalogue import SHIPPED_FOLDER

    return sorted(path.parent.name for path in SHIPPED_FOLDER.glob(f"*/{CARD_FILE}"))


@pytest.mark.parametrize("name", shipped_cards())
def test_classes_arrive_as_coded_segments(scene, name):
    import slicer
    import slicer.util
    from SegDLEngine.models.catalogue import load_model
    from SegDLEngine.result import Result
    from SegDLLib.nodes import imageFromVolume
    from SegDLLib.results import importResult, terminologyString

    card = load_model(name, need_weights=False).card.data
    volume = slicer.util.addVolumeFromArray(np.zeros((6, 10, 12), np.int16), np.diag([-1, -1, 2, 1]), "scan")
    image = imageFromVolume(volume)
    labels = np.zeros(image.array.shape, np.uint8)
    for number, label in enumerate(card["labels"]):
        labels[1 + number, 2:7, 3:9] = label["value"]
    result = Result(image.with_array(labels), {}, [], card, {"model": {"id": name}})

    node = importResult(result, volume).segmentation
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == len(card["labels"])
    for number, label in enumerate(card["labels"]):
        segment = segmentation.GetNthSegment(number)
        assert segment.GetName() == label["name"]
        assert segment.GetTerminology() == terminologyString(label["terminology"])
        assert np.allclose(segment.GetColor(), np.array(label["color"]) / 255, atol=1e-5)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(
            node, segmentation.GetNthSegmentID(number), volume
        )
        assert np.array_equal(voxels > 0, labels == label["value"])
    only = card["labels"][0]["name"].lower()
    assert node.GetName() == ("scan segmentation" if len(card["labels"]) > 1 else f"scan {only}")
