"""What to say about the end of a process: its own error, a missing package, or how it died."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from SegDLEngine.errors import Cancelled, SegDLError


def howItEnded(exitCode: int, crashed: bool) -> str:
    return "was ended by the system or crashed" if crashed else f"ended with code {exitCode}"


def missingPackage(tail: Sequence[str]) -> SegDLError | None:
    """The error of a Python that lacks a package, if the last lines say so."""
    text = "\n".join(tail)
    missing = re.search(r"No module named '([\w.]+)'", text)
    if missing is None:
        return None
    return SegDLError(
        f"The engine's Python lacks the package '{missing.group(1)}'.",
        hint="Install the missing packages in the panel.",
        code="dependency",
        detail=text,
    )


def errorOf(event: Mapping[str, Any]) -> SegDLError:
    """The error that an ``error`` event of the protocol tells."""
    if event["code"] == Cancelled.default_code:
        return Cancelled(event["text"], hint=event.get("hint", ""))
    return SegDLError(
        event["text"], hint=event.get("hint", ""), code=event["code"], detail=event.get("detail", "")
    )
