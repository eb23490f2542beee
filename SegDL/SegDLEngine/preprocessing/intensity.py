"""Preprocessing steps that change grey values; ``inputs`` names the images meant, all by default."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.images.image import Image
from SegDLEngine.preprocessing.registry import PreparedCase, step


@step("clip")
def clip(case: PreparedCase, *, low: float, high: float, inputs: Sequence[str] | None = None) -> PreparedCase:
    """Limit the values to [low, high]; the unit stays."""
    _check_range("clip", low, high)
    return case.map_images(lambda image: image.with_array(_clipped(image.array, low, high)), inputs)


@step("clip_percentiles")
def clip_percentiles(
    case: PreparedCase,
    *,
    low: float = 1.0,
    high: float = 99.0,
    above: float | None = None,
    inputs: Sequence[str] | None = None,
) -> PreparedCase:
    """Limit the values to those of the percentiles ``low`` and ``high`` (0..100), of every image by itself.

    With ``above`` the percentiles are those of the values above it, and only these are limited: 0 leaves the
    background of a brain image alone.  The unit and, but for rounding of integers, the type stay.
    """
    if not 0 <= low < high <= 100:
        raise ModelError(f"Step 'clip_percentiles': {low} and {high} are not rising percentages.")

    def apply(image: Image) -> Image:
        inside = image.array > above if above is not None else np.ones(image.array.shape, bool)
        if not inside.any():
            return image
        limits = np.percentile(image.array[inside], [low, high])
        if image.array.dtype.kind in "iu":
            limits = np.rint(limits)
        clipped = np.clip(image.array, *limits.astype(image.array.dtype))
        return image.with_array(np.where(inside, clipped, image.array))

    return case.map_images(apply, inputs)


@step("window")
def window(
    case: PreparedCase, *, low: float, high: float, inputs: Sequence[str] | None = None
) -> PreparedCase:
    """Map [low, high] linearly to 0..1 (float32); values beyond become 0 or 1."""
    _check_range("window", low, high)

    def apply(image: Image) -> Image:
        values = image.array.astype(np.float32)
        values -= np.float32(low)
        values *= np.float32(1.0 / (high - low))
        return image.with_array(np.clip(values, 0, 1, out=values))

    return case.map_images(apply, inputs)


@step("stretch")
def stretch(case: PreparedCase, *, inputs: Sequence[str] | None = None) -> PreparedCase:
    """Map the smallest value of each image to 0, its largest to 1 (float32); a constant image becomes 0."""

    def apply(image: Image) -> Image:
        values = image.array.astype(np.float32)
        values -= values.min()
        highest = values.max()
        values *= np.float32(1.0 / highest if highest > 0 else 0.0)
        return image.with_array(values)

    return case.map_images(apply, inputs)


@step("harmonise")
def harmonise(
    case: PreparedCase,
    *,
    low: float = -1000,
    high: float = 150,
    bin: float = 25,
    inputs: Sequence[str] | None = None,
) -> PreparedCase:
    """Reduce the values to grey levels of ``bin`` units from ``low`` on: 0..45 for CT by default.

    level = min(floor((value - low) / bin), last), last = ceil((high - low) / bin) - 1; values outside
    [low, high] count as the limit.  The array becomes uint8, or uint16 beyond 256 levels.
    Source: Primakov et al. 2022, doi:10.1038/s41467-022-30841-3.
    """
    _check_range("harmonise", low, high)
    if not bin > 0:
        raise ModelError(f"Step 'harmonise': bin {bin} is not positive.")
    last = math.ceil((high - low) / bin) - 1
    kind = np.uint8 if last < 256 else np.uint16

    def apply(image: Image) -> Image:
        levels = _clipped(image.array, low, high).astype(np.float32)
        levels -= np.float32(low)
        levels /= np.float32(bin)
        return image.with_array(np.minimum(np.floor(levels, out=levels), last, out=levels).astype(kind))

    return case.map_images(apply, inputs)


@step("scale")
def scale(
    case: PreparedCase, *, offset: float = 0.0, factor: float = 1.0, inputs: Sequence[str] | None = None
) -> PreparedCase:
    """(value + offset) * factor as float32."""

    def apply(image: Image) -> Image:
        values = image.array.astype(np.float32)
        values += np.float32(offset)
        values *= np.float32(factor)
        return image.with_array(values)

    return case.map_images(apply, inputs)


@step("zscore")
def zscore(
    case: PreparedCase,
    *,
    mask: str | None = None,
    epsilon: float = 0.0,
    outside: float | None = None,
    inputs: Sequence[str] | None = None,
) -> PreparedCase:
    """(value - mean) / (standard deviation + epsilon) as float32; both taken inside the named mask, if any.

    ``outside`` is what voxels outside the mask become; None treats them like those inside.  A constant image
    becomes 0 everywhere.  An empty or missing mask counts as the whole image.
    """
    inside = case.inside(mask, inputs, "zscore")

    def apply(image: Image) -> Image:
        values = image.array.astype(np.float32)
        sample = values if inside is None else values[inside]
        mean, deviation = float(sample.mean(dtype=float)), float(sample.std(dtype=float)) + epsilon
        values -= np.float32(mean)
        values *= np.float32(1.0 / deviation if deviation > 0 else 0.0)
        if inside is not None and outside is not None:
            values[~inside] = outside
        return image.with_array(values)

    return case.map_images(apply, inputs)


@step("divide_by_maximum")
def divide_by_maximum(
    case: PreparedCase, *, per_slice: bool = False, inputs: Sequence[str] | None = None
) -> PreparedCase:
    """value / maximum as float32, of every image by itself, or of every slice (k) of it.

    Where the maximum is not above 0 the values stay.
    """

    def apply(image: Image) -> Image:
        values = image.array.astype(np.float32)
        highest = values.max(axis=(1, 2), keepdims=True) if per_slice else values.max()
        values /= np.where(highest > 0, highest, np.float32(1))
        return image.with_array(values)

    return case.map_images(apply, inputs)


def _clipped(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values in [low, high], in the array's own type where it can hold both limits, else float32."""
    if array.dtype.kind in "iu":
        kind = np.iinfo(array.dtype)
        if float(low).is_integer() and float(high).is_integer() and kind.min <= low and high <= kind.max:
            return np.clip(array, int(low), int(high))
    if array.dtype.kind != "f":
        array = array.astype(np.float32)
    return np.clip(array, low, high)


def _check_range(name: str, low: float, high: float) -> None:
    if not high > low:
        raise ModelError(f"Step '{name}': high {high} is not above low {low}.")
