"""The panel's sentences about progress, plans and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from SegDLEngine.errors import SegDLError
from slicer.i18n import tr as _

_PLACE = ("epoch", "step", "steps")


def progressText(fraction: float, stage: str, secondsLeft: float | None) -> str:
    """'62 %  inference, 5 s left'."""
    text = _("{percent} %  {stage}").format(percent=round(100 * fraction), stage=_stageName(stage))
    if secondsLeft is not None:
        text += _(", {time} left").format(time=duration(secondsLeft))
    return text


def trainingText(fraction: float, stage: str, secondsLeft: float | None, details: Mapping[str, Any]) -> str:
    """'62 %  epoch 3, step 4/60, loss 0.1234, 5 min 0 s left'."""
    if "epoch" not in details:
        # Preparing says nothing about how long the training itself takes.
        return progressText(fraction, stage, None)
    place = _("epoch {epoch}, step {step}/{steps}").format(**{key: details[key] for key in _PLACE})
    if details.get("loss") is not None:
        place += _(", loss {loss:.4f}").format(loss=details["loss"])
    return progressText(fraction, place, secondsLeft)


def planText(plan: Mapping[str, Any]) -> str:
    """'cpu, fp32, expected 14 s, 2.1 GB' as far as the engine knows."""
    parts = [str(plan[key]) for key in ("device", "precision") if plan.get(key)]
    if plan.get("seconds") is not None:
        parts.append(_("expected {time}").format(time=duration(plan["seconds"])))
    if plan.get("memory_mb") is not None:
        parts.append(_memory(plan["memory_mb"]))
    return ", ".join(parts)


def resultText(lesions: Sequence[Mapping[str, Any]], seconds: float) -> str:
    """How many lesions of which volume, and how long it took."""
    took = duration(seconds)
    if not lesions:
        return _("Nothing was found ({time}).").format(time=took)
    total = sum(lesion["volume_ml"] or 0.0 for lesion in lesions)
    if len(lesions) == 1:
        return _("1 lesion, {total:.1f} ml ({time}).").format(total=total, time=took)
    return _("{count} lesions, {total:.1f} ml in all ({time}).").format(
        count=len(lesions), total=total, time=took
    )


def errorText(error: SegDLError) -> str:
    return f"{error.text} {error.hint}".strip()


def _memory(megabytes: float) -> str:
    if megabytes < 1024:
        return _("{size} MB").format(size=round(megabytes))
    return _("{size:.1f} GB").format(size=megabytes / 1024)


def duration(seconds: float) -> str:
    """'5 s', '3 min 20 s'."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return _("{seconds} s").format(seconds=whole)
    return _("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)


def _stageName(stage: str) -> str:
    names = {
        "reading": _("reading"),
        "preprocessing": _("preprocessing"),
        "inference": _("inference"),
        "postprocessing": _("postprocessing"),
        "writing": _("writing"),
        "exporting": _("writing the cases of the scene"),
        "checking": _("checking the cases"),
        "validation cases": _("preparing the validation cases"),
        "training cases": _("preparing the training cases"),
    }
    return names.get(stage, stage)
