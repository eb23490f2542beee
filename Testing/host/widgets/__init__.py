"""Stand-ins for the ctk, qMRML and qSlicer widgets of Slicer that a panel uses; each works on the scene.

A stand-in offers fewer members than the original and never other ones.  What Slicer has and it has not
raises :class:`host.strictness.NotOnHost`.
"""

from host.widgets import choices, containers, files, node_combo_box, numbers, segments, tables
from host.widgets.base import REGISTRY

__all__ = [
    "REGISTRY",
    "choices",
    "containers",
    "files",
    "node_combo_box",
    "numbers",
    "segments",
    "tables",
]
