"""CCA, SVCCA and projection-weighted CCA of two layers' activations.

Raghu et al. 2017 (SVCCA), Morcos et al. 2018 (projection weighting); report 003, section on SVCCA.
Activations are (channels, points) arrays over the same points.  The score does not change when a layer is
multiplied by an invertible matrix or shifted, so layers with other channels can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from SegDLEngine.errors import InputError

RIDGE = 1e-10


@dataclass(frozen=True)
class CanonicalCorrelation:
    """``coefficients`` (0..1, descending), one for each canonical pair.

    ``directions`` (pairs, channels of the first layer) turn its centred, scaled activations into canonical
    variables; ``rotations`` are the same without the whitening.
    """

    coefficients: np.ndarray
    directions: np.ndarray
    rotations: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.coefficients.mean())

    def leading_mean(self, mass: float = 0.98) -> float:
        """Mean of the fewest first coefficients that hold ``mass`` of their sum."""
        reached = np.cumsum(self.coefficients) >= mass * self.coefficients.sum()
        count = int(np.argmax(reached)) + 1
        return float(self.coefficients[:count].mean())


def cca(first: np.ndarray, second: np.ndarray) -> CanonicalCorrelation:
    """Canonical correlation of (channels, points) and (channels', points).

    Covariances are scaled by their largest entry and get ``RIDGE`` on the diagonal.  Raises InputError for
    layers with other points, with fewer points than channels, or with values that are not finite.
    """
    _check(first, second)
    (whiten, mine), (whiten_other, theirs) = _whitening(first), _whitening(second)
    correlation = whiten @ (mine @ theirs.T / (first.shape[1] - 1)) @ whiten_other
    rotations, coefficients, _ = np.linalg.svd(correlation)
    pairs = len(coefficients)
    rotated = rotations.T[:pairs]
    return CanonicalCorrelation(np.clip(coefficients, 0, 1), rotated @ whiten, rotated)


def _whitening(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (channels, channels) and centred, scaled activations, which it makes white."""
    centred = activations - activations.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T / (activations.shape[1] - 1)
    scale = max(float(np.abs(covariance).max()), np.finfo(float).tiny)
    return _inverse_root(covariance / scale), centred / np.sqrt(scale)


def white_directions(activations: np.ndarray, share: float = 0.99, squared: bool = True) -> np.ndarray:
    """``leading_directions`` made white: what ``mean_correlation`` compares.

    So a layer that is compared with many others is decomposed once.
    """
    _check(activations, activations)
    whiten, scaled = _whitening(leading_directions(activations, share, squared))
    return whiten @ scaled


def mean_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Mean coefficient of two layers' ``white_directions``; equals ``svcca(...).mean`` of the layers."""
    coefficients = np.linalg.svd(first @ second.T / (first.shape[1] - 1), compute_uv=False)
    return float(np.clip(coefficients, 0, 1).mean())


def svcca(
    first: np.ndarray, second: np.ndarray, share: float = 0.99, squared: bool = True
) -> CanonicalCorrelation:
    """CCA of the layers' leading singular directions, see ``leading_directions``."""
    return cca(leading_directions(first, share, squared), leading_directions(second, share, squared))


def leading_directions(activations: np.ndarray, share: float = 0.99, squared: bool = True) -> np.ndarray:
    """Coordinates (kept, points) in the singular directions that hold ``share`` of the variance.

    ``squared`` sums squared singular values, which is the variance; otherwise the values themselves, as the
    authors' tutorial does.  The second keeps many more directions of noise.
    """
    centred = activations - activations.mean(axis=1, keepdims=True)
    # The eigenvectors of the channels' products are the singular directions, at a fraction of the time.
    squares, directions = np.linalg.eigh(centred @ centred.T)
    squares, directions = np.maximum(squares[::-1], 0), directions[:, ::-1]
    mass = np.cumsum(squares if squared else np.sqrt(squares))
    if mass[-1] <= 0:
        raise InputError("A layer is constant: it has no direction to compare.", hint="Leave this layer out.")
    kept = min(int(np.searchsorted(mass / mass[-1], share)) + 1, len(squares))
    return directions[:, :kept].T @ centred


def projection_weighted(first: np.ndarray, second: np.ndarray, whitened: bool = True) -> float:
    """Mean coefficient, weighted by how much of the first layer each canonical direction explains.

    ``whitened`` is the paper's definition.  Without it the value equals that of the authors' code, which
    leaves the whitening out of the directions and adds the means back.
    """
    result = cca(first, second)
    means = first.mean(axis=1, keepdims=True)
    if whitened:
        weighed = first - means
        variables = result.directions @ weighed
    else:
        weighed = first
        variables = result.rotations @ (first - means) + means[: len(result.rotations)]
    basis, _ = np.linalg.qr(variables.T)
    weights = np.abs(basis.T @ weighed.T).sum(axis=1)
    return float((weights * result.coefficients).sum() / weights.sum())


def _inverse_root(matrix: np.ndarray) -> np.ndarray:
    """Of the pseudo-inverse, which leaves out what is lost in rounding."""
    values, vectors = np.linalg.eigh(matrix + RIDGE * np.eye(len(matrix)))
    sound = values > 1e-15 * values[-1]
    roots = np.where(sound, 1 / np.sqrt(np.where(sound, values, 1)), 0)
    return (vectors * roots) @ vectors.T


def _check(first: np.ndarray, second: np.ndarray) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise InputError(
            f"Activations of shapes {first.shape} and {second.shape} cannot be compared.",
            hint="Both must be (channels, points) over the same points.",
        )
    most = max(len(first), len(second))
    if first.shape[1] <= most:
        raise InputError(
            f"{first.shape[1]} points are too few for {most} channels.",
            hint="Give at least five times as many points as channels: more cases, or more points a case.",
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("Activations are not finite.", hint="Check the weights and the input for NaN.")
