"""One entrance to all inference modes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from SegDLEngine.errors import ModelError
from SegDLEngine.inference.mirroring import FLIP_TTA
from SegDLEngine.inference.monte_carlo import dropout_modules
from SegDLEngine.inference.prediction import Prediction
from SegDLEngine.inference.runtime import Runtime
from SegDLEngine.inference.slices import predict_slices
from SegDLEngine.inference.windows import predict_windows
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

MODES: dict[str, Callable[..., Prediction]] = {"slices": predict_slices, "windows": predict_windows}
DIMENSIONS = {"slices": 2, "windows": 3}


def predict(
    network: Network,
    channels: np.ndarray,
    settings: Mapping[str, Any],
    runtime: Runtime,
    reporter: Reporter,
    samples: int = 0,
    seed: int = 0,
    mask: np.ndarray | None = None,
    keep: Collection[str] | None = None,
) -> Prediction:
    """Probabilities of the foreground labels, and their spread if ``samples`` > 0.

    The spread is that of as many Monte Carlo passes or, with the uncertainty "flip_tta", of mirror images.

    ``channels``: float32 (C, k, j, i); ``settings``: the card's ``inference``; ``mask`` (k, j, i): where a
    result is wanted, everywhere by default; ``keep``: which of mean, std, entropy and mutual_information are,
    all by default (what is left out takes no memory).  Raises ModelError for settings that no mode can serve.
    """
    mode = settings.get("mode")
    if mode not in MODES:
        raise ModelError(
            f"The model card asks for inference mode '{mode}'.", hint=f"Known modes: {', '.join(MODES)}."
        )
    if network.dimensions != DIMENSIONS[mode]:
        raise ModelError(
            f"The model card asks for inference mode '{mode}' with a {network.dimensions}D network.",
            hint="2D networks run over slices, 3D networks over windows.",
        )
    if samples and settings.get("uncertainty") != FLIP_TTA:
        # Before any work: without dropout every pass would be the same.
        dropout_modules(network)
    return MODES[mode](network, channels, settings, runtime, reporter, samples, seed, mask, keep)
