"""Learning rates by name: functions of the training's progress and of its curve, without state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from SegDLEngine.errors import InputError

Rows = Sequence[Mapping[str, Any]]


class Schedule(Protocol):
    """The rate at a (fractional) epoch; ``history`` holds a row for each epoch that has ended."""

    def __call__(self, epoch: float, history: Rows = ()) -> float: ...


def constant(start: float = 1e-3) -> Schedule:
    return lambda epoch, history=(): start


def exponential(start: float = 1e-3, factor: float = 0.8, every: int = 1) -> Schedule:
    """start * factor^(epoch // every): report 001 with every 1, report 003 with 2e-4, 0.8 and every 25."""
    return lambda epoch, history=(): start * factor ** (math.floor(epoch) // every)


def cosine_restarts(start: float = 1e-3, end: float = 1e-5, period: int = 25) -> Schedule:
    """Half a cosine from ``start`` towards ``end``, again every ``period`` epochs, per epoch: report 000."""
    return lambda epoch, history=(): (
        end + (start - end) * 0.5 * (1 + math.cos(math.pi * (math.floor(epoch) % period) / period))
    )


def warm_cosine(start: float, epochs: float, warm_up: float = 1.0, end: float = 0.0) -> Schedule:
    """Rises linearly for ``warm_up`` epochs to ``start``, then falls along half a cosine to ``end``."""

    def rate(epoch: float, history: Rows = ()) -> float:
        if epoch < warm_up:
            return start * (epoch + 1e-3) / warm_up
        share = min(1.0, (epoch - warm_up) / max(epochs - warm_up, 1e-9))
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))

    return rate


def plateau(
    start: float = 1e-2,
    factor: float = 0.5,
    patience: int = 2,
    min_delta: float = 1e-4,
    metric: str = "validation_loss",
    end: float = 0.0,
) -> Schedule:
    """Multiplied by ``factor`` after ``patience`` epochs without improvement of ``metric``: report 004."""

    def rate(epoch: float, history: Rows = ()) -> float:
        return max(end, start * factor ** reductions(values(history, metric), patience, min_delta))

    return rate


def values(history: Rows, metric: str) -> list[float]:
    """The curve of a metric, turned so that lower is better."""
    sign = 1.0 if metric.endswith("loss") else -1.0
    return [sign * row[metric] for row in history if metric in row]


def reductions(curve: Sequence[float], patience: int, min_delta: float = 0.0) -> int:
    """How often ``patience`` values in a row brought no improvement; each time the count starts anew."""
    best, waited, count = math.inf, 0, 0
    for value in curve:
        if value < best - min_delta:
            best, waited = value, 0
            continue
        waited += 1
        if waited >= patience:
            count, waited = count + 1, 0
    return count


def stagnates(history: Rows, metric: str, patience: int, min_delta: float = 0.0) -> bool:
    """Whether the last ``patience`` epochs did not improve ``metric``: time to stop early."""
    return reductions(values(history, metric), patience, min_delta) > 0


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "exponential": exponential,
    "cosine_restarts": cosine_restarts,
    "warm_cosine": warm_cosine,
    "plateau": plateau,
}


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
