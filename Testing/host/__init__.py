"""Hosts Slicer's scene, views and scripted modules in plain Python."""

from __future__ import annotations

from typing import Any

_HOMES = {
    "start": "host.qt_application",
    "start_plain": "host.application",
    "load_module": "host.modules",
    "click": "host.interaction",
    "click_cell": "host.interaction",
    "choose": "host.interaction",
    "type_text": "host.interaction",
    "wait_for": "host.interaction",
    "process_events": "host.interaction",
    "screenshot": "host.interaction",
    "warnings": "host.strictness",
    "clear_warnings": "host.strictness",
}
"""Where the public functions live; each is imported at its first use, so that a scene needs no Qt."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'host' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
