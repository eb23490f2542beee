"""Runs Slicer's scene, views and scripted modules in plain Python, without the 3D Slicer application.

    import host

    host.start()                                  # slicer, qt and ctk can be imported now
    module = host.load_module("SegDL/SegDL.py")   # as the application does: setup, panel, enter
    host.click(module.widget.ui.runButton)
    host.wait_for(lambda: ..., seconds=60)
    host.screenshot(module.panel, "panel.png")
    assert host.warnings() == []

    python -m host script.py -- arguments         # like Slicer --no-main-window --python-script script.py

The scene, its logics and the slice and 3D views are Slicer's own code from the slicer-core wheel.  The
widgets are Qt's from PySide6; those that Slicer adds (qMRML, ctk), PythonQt's calling conventions and the
application object are stand-ins written here.  They are strict: what a running Slicer 5.12.3 did not show
(``facts/``) does not exist, and what exists there but not here says so (``NotOnHost``).

A test on the host proves: the ``.ui`` files load and their widgets, properties and connections exist;
signals reach their slots with the right arguments; the panel's state follows the scene, its closing and a
reload; worker processes, progress, cancelling and errors work through qt.QProcess; the nodes that result are
right in real MRML, in files and in pictures.

It does not prove: that Slicer finds and starts the module (packaging, module factory, embedded Python), how
it looks there (another Qt version, style and fonts), what the real qMRML and ctk widgets do beyond what the
stand-ins know, PythonQt's ownership of objects and its conversion of rare types, DICOM, subject hierarchy
plugins, translations, the installation of packages.

Where what is in which file:

- ``mrml``, ``io_manager``, ``views``: the scene, its files, its pictures; no Qt;
- ``application``, ``script``, ``base_classes``, ``services``, ``modules``: ``slicer.app`` and loading; no Qt;
- ``pythonqt``, ``faces``, ``signals``, ``values``, ``metadata``, ``strictness``, ``singletons``: PythonQt;
- ``widgets/``, ``ui_loader``, ``panel``, ``layout``, ``main_window``, ``built_in/``: what panels are made of;
- ``qt_application``, ``interaction``, ``fixtures``: the start with Qt, the user's hands, pytest;
- ``requirements``: what the machine must have, asked before anything is loaded.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "NotOnHost": "host.strictness",
    "choose": "host.interaction",
    "clear_warnings": "host.strictness",
    "click": "host.interaction",
    "click_cell": "host.interaction",
    "graphics_available": "host.requirements",
    "load_module": "host.modules",
    "process_events": "host.interaction",
    "save_views": "host.interaction",
    "screenshot": "host.interaction",
    "start": "host.qt_application",
    "start_plain": "host.application",
    "type_text": "host.interaction",
    "wait_for": "host.interaction",
    "warnings": "host.strictness",
}
"""Where the public names live; each is imported at its first use, so that a scene needs no Qt."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'host' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
