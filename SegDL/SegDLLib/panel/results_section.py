"""The lesions of a result, its surfaces, and the way to the Segment Editor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from SegDLLib.signals import Signal

_ROW_HEIGHT = 22
_SIZES = (("volume_ml", "{:.2f}"), ("long_axis_mm", "{:.1f}"))
_INTENSITY, _UPTAKE = ("mean", "{:.0f}"), ("suv_max", "{:.1f}")
_UNCERTAINTY = ("mean_uncertainty", "{:.3f}")
_COLUMN_COUNT = 1 + len(_SIZES) + 2


class ResultsSection:
    """Signals ``resultChosen(node)``, ``lesionClicked(row)``, ``show3DChosen(bool)``, ``editClicked()``."""

    def __init__(self, ui):
        self._ui = ui
        self.resultChosen, self.lesionClicked = Signal(), Signal()
        self.show3DChosen, self.editClicked = Signal(), Signal()
        table = ui.lesionTable
        table.setColumnCount(_COLUMN_COUNT)
        self._showHeadings("", uptake=False)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.connect("cellClicked(int,int)", self._onCell)
        # Only results of SegDL have lesions and an uncertainty to show.
        ui.resultSelector.addAttribute("vtkMRMLSegmentationNode", "SegDL.Model")
        ui.resultSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.resultChosen.emit)
        ui.show3DCheckBox.connect("toggled(bool)", self.show3DChosen.emit)
        ui.editButton.connect("clicked()", self.editClicked.emit)

    def show(self, node: Any, lesions: Sequence[Mapping[str, Any]], unit: str, show3D: bool) -> None:
        """Show a segmentation (or None) with its lesion rows; ``unit`` is that of the intensities."""
        ui = self._ui
        for widget in (ui.resultSelector, ui.show3DCheckBox):
            widget.blockSignals(True)
        ui.resultSelector.setCurrentNode(node)
        ui.show3DCheckBox.setChecked(show3D)
        for widget in (ui.resultSelector, ui.show3DCheckBox):
            widget.blockSignals(False)
        ui.show3DCheckBox.setEnabled(node is not None)
        ui.editButton.setEnabled(node is not None)
        ui.segmentsTable.setVisible(node is not None)
        if ui.segmentsTable.segmentationNode() is not node:
            ui.segmentsTable.setSegmentationNode(node)
        # With PET the uptake says more than the mean of the reference image.
        uptake = any(lesion.get("suv_max") is not None for lesion in lesions)
        self._showHeadings(unit, uptake)
        self._fill(lesions, (*_SIZES, _UPTAKE if uptake else _INTENSITY, _UNCERTAINTY))

    def _showHeadings(self, unit: str, uptake: bool) -> None:
        intensity = _("Mean [{unit}]").format(unit=unit) if unit else _("Mean")
        if uptake:
            intensity = _("SUVmax")
        headings = [_("Lesion"), _("Volume [ml]"), _("Long axis [mm]"), intensity, _("Uncertainty")]
        self._ui.lesionTable.setHorizontalHeaderLabels(headings)

    def _fill(self, lesions: Sequence[Mapping[str, Any]], numbers: Sequence[tuple[str, str]]) -> None:
        table = self._ui.lesionTable
        table.setRowCount(len(lesions))
        for row, lesion in enumerate(lesions):
            texts = [f"{lesion['name']} {lesion['component']}"]
            texts += [_number(lesion.get(key), form) for key, form in numbers]
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                if column:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(row, column, item)

    def _onCell(self, row: int) -> None:
        self.lesionClicked.emit(row)


def _number(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)
