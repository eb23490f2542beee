"""Patches from the boxes of volumes: labelled ones for the dictionary, others as queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SegDLTrainingLib.semi_supervised.boxes import SliceBox, cut_patch, slice_boxes
from SegDLTrainingLib.volumes import PreparedVolume


@dataclass(frozen=True)
class Patches:
    """``images`` float16 (n, C, side, side), ``masks`` uint8 (n, side, side), name of each one's case."""

    images: np.ndarray
    masks: np.ndarray
    cases: list[str]

    def __len__(self) -> int:
        return len(self.cases)


def cut_patches(volumes: Sequence[PreparedVolume], margin: int, each: int, side: int, seed: int) -> Patches:
    """``each`` patches of every volume that has labels, from boxes of its slices, ``margin`` pixels larger.

    A patch lies inside a box that is larger than it, and holds one that is smaller.  The same arguments give
    the same patches.
    """
    images, masks, cases = [], [], []
    for number, volume in enumerate(volumes):
        mask = np.asarray(volume.labels) > 0
        boxes = list(slice_boxes(mask, margin))
        for patch in range(each if boxes else 0):
            rng = np.random.default_rng([seed, number, patch])
            box = boxes[int(rng.integers(len(boxes)))]
            centre = _centre(box, side, rng)
            images.append(cut_patch(volume.image[:, box.k], centre, side))
            masks.append(cut_patch(mask[box.k].astype(np.uint8), centre, side))
            cases.append(volume.name)
    channels = len(volumes[0].image) if volumes else 1
    return Patches(
        np.array(images, np.float16).reshape(-1, channels, side, side),
        np.array(masks, np.uint8).reshape(-1, side, side),
        cases,
    )


def _centre(box: SliceBox, side: int, rng: np.random.Generator) -> tuple[int, int]:
    starts = []
    for first, end in (box.rows, box.columns):
        low, high = sorted((first, end - side))
        starts.append(int(rng.integers(low, high + 1)))
    return starts[0] + side // 2, starts[1] + side // 2
