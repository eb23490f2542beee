"""What to say about the end of a process: its own error, a missing package, or how it died."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableSequence, Sequence
from typing import Any

from SegDLEngine import protocol
from SegDLEngine.errors import Cancelled, SegDLError

from SegDLLib.python_command import PYTHON_VARIABLE

# A line of a library may be endless; its end says what went wrong.
_LINE_LIMIT = 2000
# Beyond it shells and launchers put the number of the signal, and Windows the kind of the crash.
_LARGEST_OWN_CODE = 128
# Slicer's launcher of a Python that was killed says this and ends with a code of its own.
_LAUNCHER_TELLS = "exit abnormally"


def kept(line: str) -> str:
    """What is remembered of a line that is no event."""
    return line if len(line) <= _LINE_LIMIT else f"...{line[-_LINE_LIMIT:]}"


def eventIn(line: str, tail: MutableSequence[str]) -> dict[str, Any] | None:
    """The event of a line; None for what a library prints, which ``tail`` keeps for the report."""
    try:
        return protocol.decode(line)
    except ValueError:
        tail.append(kept(line))
        return None


def wasKilled(exitCode: int, crashed: bool, tail: Sequence[str]) -> bool:
    """True for a process that was killed or crashed, also where only its launcher tells."""
    return crashed or exitCode > _LARGEST_OWN_CODE or any(_LAUNCHER_TELLS in line for line in tail)


def howItEnded(exitCode: int, killed: bool) -> str:
    return "was ended by the system or crashed" if killed else f"ended with code {exitCode}"


def exceptionIn(tail: Sequence[str]) -> str:
    """The last line that names an exception, as a traceback ends; '' without one."""
    found = [line for line in tail if re.match(r"[\w.]*(Error|Exception|Interrupt)(: |$)", line)]
    return found[-1] if found else ""


def missingPackage(tail: Sequence[str]) -> SegDLError | None:
    """The error of a Python that lacks a package, if the last lines say so."""
    text = "\n".join(tail)
    missing = re.search(r"No module named '([\w.]+)'", text)
    if missing is None:
        return None
    other = os.environ.get(PYTHON_VARIABLE)
    return SegDLError(
        f"The engine's Python lacks the package '{missing.group(1)}'.",
        hint=f"Install it for {other}." if other else "Install the missing packages in the panel.",
        code="dependency",
        detail=text,
    )


def errorOf(event: Mapping[str, Any]) -> SegDLError:
    """The error that an ``error`` event of the protocol tells."""
    code, text = event.get("code", SegDLError.default_code), event.get("text", "No reason is given.")
    if code == Cancelled.default_code:
        return Cancelled(text, hint=event.get("hint", ""))
    return SegDLError(text, hint=event.get("hint", ""), code=code, detail=event.get("detail", ""))
