"""The report that a user can copy: versions, settings and the engine's last words; no patient data."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from typing import Any

import SegDLEngine
import slicer
from SegDLEngine.errors import SegDLError

from SegDLLib.dependencies import installedVersion, requirements

_SHOWN = ("numpy", "SimpleITK")


def diagnosticReport(
    settings: Mapping[str, Any],
    log: Iterable[str] = (),
    error: SegDLError | None = None,
    tail: Iterable[str] = (),
    private: Iterable[str] = (),
) -> str:
    """A plain-text report; ``settings`` are the panel's, ``tail`` the last lines of the engine's output.

    ``private``: words that are blotted out, such as the names of nodes, which may name a patient.
    """
    names = [*_SHOWN, *(item.name for item in requirements())]
    lines = [
        "SegDL diagnostic report (research software, not for clinical use)",
        f"SegDL {SegDLEngine.__version__}, Slicer {slicer.app.applicationVersion}",
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors",
        "Packages: " + ", ".join(f"{name} {installedVersion(name) or 'missing'}" for name in names),
        "Settings: " + ", ".join(f"{name}={value}" for name, value in settings.items()),
    ]
    if error is not None:
        lines += ["", "Last error", f"[{error.code}] {error.text} {error.hint}".rstrip()]
        lines += [error.detail] if error.detail else []
    lines += ["", "Log", *log]
    lines += ["", "Last lines of the engine", *tail]
    text = "\n".join(lines) + "\n"
    for word in sorted(set(private), key=len, reverse=True):
        if len(word) > 2:
            text = text.replace(f"'{word}'", "'(name)'")
    return text
