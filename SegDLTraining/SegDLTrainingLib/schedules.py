"""Learning rates by name: functions of the training's progress, without state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from SegDLEngine.errors import InputError

Schedule = Callable[[float], float]


def exponential(start: float = 1e-3, factor: float = 0.8) -> Schedule:
    """start * factor^epoch, constant within an epoch: report 001."""
    return lambda epoch: start * factor ** math.floor(epoch)


def warm_cosine(start: float, epochs: float, warm_up: float = 1.0, end: float = 0.0) -> Schedule:
    """Rises linearly for ``warm_up`` epochs to ``start``, then falls along half a cosine to ``end``."""

    def rate(epoch: float) -> float:
        if epoch < warm_up:
            return start * (epoch + 1e-3) / warm_up
        share = min(1.0, (epoch - warm_up) / max(epochs - warm_up, 1e-9))
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))

    return rate


SCHEDULES: dict[str, Callable[..., Schedule]] = {"exponential": exponential, "warm_cosine": warm_cosine}


def build_schedule(entry: Mapping[str, Any]) -> Schedule:
    """The schedule of a recipe's ``{"name": ..., constants}``; raises InputError for an unknown one."""
    constants = {key: value for key, value in entry.items() if key != "name"}
    if entry.get("name") not in SCHEDULES:
        raise InputError(
            f"The recipe's schedule '{entry.get('name')}' is unknown.",
            hint=f"Known schedules: {', '.join(SCHEDULES)}.",
        )
    try:
        return SCHEDULES[entry["name"]](**constants)
    except TypeError as error:
        raise InputError(f"The recipe's schedule '{entry['name']}': {error}.") from error
