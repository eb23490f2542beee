"""Stand-ins for the ctk, qMRML and qSlicer widgets of Slicer that a panel uses; each works on the scene."""

from host.widgets import containers, node_combo_box, numbers
from host.widgets.base import REGISTRY

__all__ = ["REGISTRY", "containers", "node_combo_box", "numbers"]
