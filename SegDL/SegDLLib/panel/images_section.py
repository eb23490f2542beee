"""One volume selector for each input of the model, and the region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from SegDLLib.signals import Signal


class ImagesSection:
    """Signals ``inputChosen(name, node)``, ``regionChosen(node)``, ``regionAdded(node)``."""

    def __init__(self, ui):
        self._ui = ui
        self._names: list[str] = []
        self._selectors: dict[str, Any] = {}
        self.inputChosen, self.regionChosen, self.regionAdded = Signal(), Signal(), Signal()
        ui.regionSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.regionChosen.emit)
        ui.regionSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self.regionAdded.emit)

    def show(
        self,
        entries: Sequence[Mapping[str, Any]],
        nodes: Mapping[str, Any],
        roi: Any,
        elsewhere: str,
        reference: str,
    ) -> None:
        """Show the inputs of a card with their nodes; ``elsewhere`` names those on another grid."""
        if [entry["name"] for entry in entries] != self._names:
            self._rebuild(entries)
        for name, selector in self._selectors.items():
            _select(selector, nodes.get(name))
        _select(self._ui.regionSelector, roi)
        self._ui.gridNoteLabel.setVisible(bool(elsewhere))
        self._ui.gridNoteLabel.setText(
            _("{names}: on another grid, will be resampled to {reference}.").format(
                names=elsewhere, reference=reference
            )
        )

    def setEnabled(self, enabled: bool) -> None:
        for selector in (*self._selectors.values(), self._ui.regionSelector):
            selector.setEnabled(enabled)

    def _rebuild(self, entries: Sequence[Mapping[str, Any]]) -> None:
        layout = self._ui.imagesCollapsibleButton.layout()
        for name in self._names:
            # Leaving the scene would otherwise be heard as the choice of no volume.
            self._selectors[name].blockSignals(True)
            self._selectors[name].setMRMLScene(None)
            layout.removeRow(0)
        self._selectors = {}
        for row, entry in enumerate(entries):
            selector = self._makeSelector(entry)
            layout.insertRow(row, entry["name"] + ":", selector)
            self._selectors[entry["name"]] = selector
        self._names = [entry["name"] for entry in entries]

    def _makeSelector(self, entry: Mapping[str, Any]):
        name = entry["name"]
        selector = slicer.qMRMLNodeComboBox()
        selector.setObjectName(f"inputSelector{name}")
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode"]
        selector.noneEnabled = True
        selector.noneDisplay = _("choose a volume") if entry["required"] else _("none (optional)")
        selector.addEnabled = False
        selector.removeEnabled = False
        unit = entry["unit"] or _("any unit")
        selector.setToolTip(_("{modality} in {unit}").format(modality=entry["modality"], unit=unit))
        selector.setMRMLScene(slicer.mrmlScene)
        # PythonQt looks at a function's argument count, so a closure is needed rather than a partial.
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self.inputChosen.emit(name, node))
        return selector


def _select(selector, node: Any) -> None:
    selector.blockSignals(True)
    selector.setCurrentNode(node)
    selector.blockSignals(False)
