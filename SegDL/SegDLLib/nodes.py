"""Volume nodes to the engine's images and back; the one place where the Slicer side meets the grid.

Arrays are (k, j, i).  An image lies where the volume is *shown*: a linear parent transform is part of its
grid.  Voxels are always copied, so that neither side sees the other's later changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from slicer.util import arrayFromVolume, arrayFromVTKMatrix, updateVolumeFromArray, vtkMatrixFromArray

from SegDLLib import modality as modalities

# VTK images have no such scalars; each is kept exactly in the type beside it.
_STORED_AS = {"bool": np.uint8, "float16": np.float32, "int64": np.int32, "uint64": np.uint32}


def imageFromVolume(volumeNode, *, modality: str = "", unit: str = "") -> Image:
    """The volume's voxels (k, j, i) on its grid in the world, including linear parent transforms.

    ``modality`` and ``unit`` are guessed from the node when not given.  Raises InputError when the node has
    no voxels, has several components, or stands under a transform that is not linear.
    """
    if volumeNode is None:
        raise InputError("No volume is given.", hint="Choose an input volume.")
    name = volumeNode.GetName()
    voxels = arrayFromVolume(volumeNode) if volumeNode.GetImageData() else None
    if voxels is None or voxels.size == 0:
        raise InputError(f"Volume '{name}' has no voxels.", hint="Load the image again.")
    if voxels.ndim != 3:
        raise InputError(
            f"Volume '{name}' has {voxels.shape[-1]} components in each voxel.",
            hint="Choose a scalar volume; colour and vector volumes cannot be segmented.",
        )
    try:
        grid = Grid.from_ijk_to_ras(ijkToWorld(volumeNode), voxels.shape[::-1])
    except ValueError as error:
        raise InputError(f"Volume '{name}' has an unusable geometry: {error}.") from error
    return Image(
        voxels.copy(),
        grid,
        modality or modalities.modalityOf(volumeNode),
        unit or modalities.unitOf(volumeNode),
        _identifiers(volumeNode),
    )


def ijkToWorld(volumeNode) -> np.ndarray:
    """4x4 matrix from voxel indices to world RAS in mm; InputError under a non-linear transform."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    own = np.array(arrayFromVTKMatrix(matrix))
    parent = volumeNode.GetParentTransformNode()
    if parent is None:
        return own
    if not parent.IsTransformToWorldLinear():
        raise InputError(
            f"Volume '{volumeNode.GetName()}' stands under the non-linear transform '{parent.GetName()}'.",
            hint="Harden the transform, or take the volume out of it.",
        )
    parent.GetMatrixTransformToWorld(matrix)
    return arrayFromVTKMatrix(matrix) @ own


def volumeFromImage(image: Image, name: str, *, className: str = "vtkMRMLScalarVolumeNode", placeAs=None):
    """A new volume node with the image's voxels and geometry (to 1e-6 mm), with display nodes.

    ``placeAs``: a volume whose world grid is the image's; its own IJK-to-RAS matrix and its parent transform
    are taken over, so that both stay together when the transform is changed later.
    """
    if placeAs is not None:
        _requireSameGrid(image, placeAs)
    node = slicer.mrmlScene.AddNewNodeByClass(className, slicer.mrmlScene.GenerateUniqueName(name))
    updateVolumeFromArray(node, _storable(image.array))
    matrix = vtk.vtkMatrix4x4()
    if placeAs is None:
        matrix = vtkMatrixFromArray(image.grid.ijk_to_ras)
    else:
        placeAs.GetIJKToRASMatrix(matrix)
        node.SetAndObserveTransformNodeID(placeAs.GetTransformNodeID())
    node.SetIJKToRASMatrix(matrix)
    node.CreateDefaultDisplayNodes()
    return node


def labelmapFromImage(image: Image, name: str, *, placeAs=None):
    """A new vtkMRMLLabelMapVolumeNode; see ``volumeFromImage``."""
    return volumeFromImage(image, name, className="vtkMRMLLabelMapVolumeNode", placeAs=placeAs)


def _requireSameGrid(image: Image, volumeNode) -> None:
    extent = volumeNode.GetImageData().GetDimensions() if volumeNode.GetImageData() else (0, 0, 0)
    if image.grid.size != tuple(extent) or not image.grid.matches(
        Grid.from_ijk_to_ras(ijkToWorld(volumeNode), extent)
    ):
        raise InputError(
            f"The result does not lie on the grid of volume '{volumeNode.GetName()}'.",
            hint="The volume or its transform was changed meanwhile; run again.",
        )


def _storable(array: np.ndarray) -> np.ndarray:
    target = _STORED_AS.get(array.dtype.name)
    if target is None:
        return np.ascontiguousarray(array)
    if np.issubdtype(array.dtype, np.integer) and array.size:
        limits = np.iinfo(target)
        if array.min() < limits.min or array.max() > limits.max:
            raise InputError(
                f"The image has values outside {limits.min}..{limits.max}, which no volume node keeps."
            )
    return np.ascontiguousarray(array, dtype=target)


def _identifiers(volumeNode) -> dict[str, Any]:
    """What identifies the volume: its name, file and DICOM instances, as far as known."""
    found: dict[str, Any] = {"name": volumeNode.GetName()}
    storage = volumeNode.GetStorageNode()
    if storage is not None and storage.GetFileName():
        found["path"] = storage.GetFileName()
    instances = volumeNode.GetAttribute(modalities.INSTANCE_UIDS)
    if instances:
        found["instance_uids"] = instances.split()
    return found
