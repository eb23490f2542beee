"""The four distortions of Models Genesis, and the flip that precedes them.

Cubes are float32 (k, j, i) in 0..1, and stay there.  Constants are those that report 003 takes over: flip
0.4, local shuffling 0.5, non-linear intensity 0.9, painting 0.9 of which one in five is in-painting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CURVE_POINTS = 1000
LARGEST_PAINTED = 5


@dataclass(frozen=True)
class Distortion:
    """Chances of each distortion; ``inpainting`` is the share of in-painting among painted cubes."""

    flip: float = 0.4
    shuffling: float = 0.5
    intensity: float = 0.9
    painting: float = 0.9
    inpainting: float = 0.2
    blocks: int = 10000
    another: float = 0.95

    def flipped(self, cube: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The cube mirrored along random axes, at most three times; what the network shall restore."""
        for _ in range(3):
            if rng.random() >= self.flip:
                break
            cube = np.flip(cube, int(rng.integers(cube.ndim)))
        return np.ascontiguousarray(cube)

    def __call__(self, cube: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What the network sees: shuffled, then another grey scale, then painted; ``cube`` is not changed."""
        cube = cube.copy()
        if rng.random() < self.shuffling:
            cube = shuffle_locally(cube, rng, self.blocks)
        if rng.random() < self.intensity:
            cube = change_intensity(cube, rng)
        if rng.random() < self.painting:
            paint = paint_inside if rng.random() < self.inpainting else paint_outside
            cube = paint(cube, rng, self.another)
        return cube


def shuffle_locally(cube: np.ndarray, rng: np.random.Generator, blocks: int = 10000) -> np.ndarray:
    """Permute the voxels inside many small blocks, whose sides are at most a tenth of the cube's.

    All blocks take their voxels from the original cube, so the local histogram stays about the same.
    """
    result = cube.copy()
    longest = [max(length // 10, 1) for length in cube.shape]
    sides = np.stack([rng.integers(1, length + 1, blocks) for length in longest], axis=1)
    starts = (rng.random((blocks, cube.ndim)) * (np.asarray(cube.shape) - sides + 1)).astype(int)
    for start, side in zip(starts, sides, strict=True):
        block = tuple(slice(a, a + length) for a, length in zip(start, side, strict=True))
        result[block] = rng.permutation(cube[block].ravel()).reshape(side)
    return result


def change_intensity(cube: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Map grey values along a random monotone cubic Bezier curve from 0 to 1; half the time from 1 to 0."""
    controls = np.array([(0.0, 0.0), rng.random(2), rng.random(2), (1.0, 1.0)])
    t = np.linspace(0, 1, CURVE_POINTS)[:, None]
    curve = (
        (1 - t) ** 3 * controls[0]
        + 3 * (1 - t) ** 2 * t * controls[1]
        + 3 * (1 - t) * t**2 * controls[2]
        + t**3 * controls[3]
    )
    before, after = np.sort(curve[:, 0]), np.sort(curve[:, 1])
    if rng.random() < 0.5:
        after = after[::-1]
    return np.interp(cube, before, after).astype(np.float32)


def paint_inside(cube: np.ndarray, rng: np.random.Generator, another: float = 0.95) -> np.ndarray:
    """Replace up to five blocks, a sixth to a third of the cube's sides, by noise; now and then none."""
    result = cube.copy()
    for block in _blocks(cube.shape, (1 / 6, 1 / 3), rng, another, least=0):
        result[block] = rng.random(result[block].shape, dtype=np.float32)
    return result


def paint_outside(cube: np.ndarray, rng: np.random.Generator, another: float = 0.95) -> np.ndarray:
    """Replace all by noise but one to five blocks, about half as long as the cube."""
    result = rng.random(cube.shape, dtype=np.float32)
    for block in _blocks(cube.shape, (3 / 7, 4 / 7), rng, another, least=1):
        result[block] = cube[block]
    return result


def _blocks(
    shape: tuple[int, ...], share: tuple[float, float], rng: np.random.Generator, another: float, least: int
) -> list[tuple[slice, ...]]:
    """``least`` blocks, and with the chance ``another`` each time one more."""
    blocks: list[tuple[slice, ...]] = []
    while len(blocks) < LARGEST_PAINTED and (len(blocks) < least or rng.random() < another):
        sides = [max(int(length * rng.uniform(*share)), 1) for length in shape]
        starts = [int(rng.integers(length - side + 1)) for length, side in zip(shape, sides, strict=True)]
        blocks.append(tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True)))
    return blocks
