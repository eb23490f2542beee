"""The postprocessing step that judges components by how much of them lies in a mask of preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import cc3d
import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.image import Image


def drop_mostly_inside(
    labels: Image,
    masks: Mapping[str, Image],
    *,
    mask: str,
    share: float = 0.5,
    connectivity: Literal[6, 18, 26] = 26,
) -> Image:
    """Remove 3D components of which more than ``share`` lies in the named mask.

    So what cannot be the label, as blood full of contrast medium cannot be a tumour, is judged as a whole: a
    tumour that has a few such voxels keeps them.  Raises ModelError if preprocessing made no such mask.
    """
    if mask not in masks:
        raise ModelError(
            f"Postprocessing needs the mask '{mask}', which no preprocessing step made.",
            hint=f"Masks of this model: {', '.join(masks) or 'none'}.",
        )
    parts, count = cc3d.connected_components(labels.array, connectivity=connectivity, return_N=True)  # type: ignore[call-overload]
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    inside = np.bincount(parts[masks[mask].array != 0], minlength=count + 1)
    dropped = inside > share * sizes
    dropped[0] = False
    return labels.with_array(np.where(dropped[parts], np.uint8(0), labels.array))
