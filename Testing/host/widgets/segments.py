"""The table of segments and the Segment Editor's widget."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from host.widgets.base import Observers, Property, compact_layout
from host.widgets.containers import qMRMLWidget

VISIBLE_COLUMN, COLOR_COLUMN, OPACITY_COLUMN, NAME_COLUMN = range(4)


class qMRMLSegmentsTableView(qMRMLWidget):
    """Lists the segments of a segmentation; the user switches them on and off and renames them.

    As in Slicer it follows the segmentation and its display node.
    """

    EMITS = frozenset({"mrmlSceneChanged(vtkMRMLScene*)", "selectionChanged(QItemSelection,QItemSelection)"})

    def _show_columns(self, _value: Any = None) -> None:
        shown = (self.visibilityColumnVisible, self.colorColumnVisible, self.opacityColumnVisible, True)
        for column, visible in enumerate(shown):
            self._table.setColumnHidden(column, not visible)
        self._table.horizontalHeader().setVisible(self.headerVisible)

    headerVisible = Property("bool", True, _show_columns)
    visibilityColumnVisible = Property("bool", True, _show_columns)
    colorColumnVisible = Property("bool", True, _show_columns)
    opacityColumnVisible = Property("bool", True, _show_columns)
    statusColumnVisible = Property("bool", False)
    layerColumnVisible = Property("bool", False)
    filterBarVisible = Property("bool", False)
    jumpToSelectedSegmentEnabled = Property("bool", False)
    readOnly = Property("bool", False, lambda widget, _value: widget._fill())
    selectionMode = Property("int", 3, lambda widget, _value: widget._apply_selection_mode())

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._segmentation_node: Any = None
        self._filling = False
        self._observers = Observers(self)
        self._table = QtWidgets.QTableWidget(0, 4, self)
        self._table.setHorizontalHeaderLabels(["", "Color", "Opacity", "Name"])
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.verticalHeader().hide()
        self._table.horizontalHeader().setStretchLastSection(True)
        compact_layout(self, self._table)
        self._table.itemChanged.connect(self._edited)
        self._table.selectionModel().selectionChanged.connect(
            lambda chosen, left: self.emit_signal(
                "selectionChanged(QItemSelection,QItemSelection)", chosen, left
            )
        )

    def segmentationNode(self) -> Any:
        return self._segmentation_node

    def setSegmentationNode(self, node: Any) -> None:
        """Show the segments of a segmentation node, or none."""
        self._segmentation_node = node
        self._observers.clear()
        if node is not None:
            for event in (
                slicer.vtkSegmentation.SegmentAdded,
                slicer.vtkSegmentation.SegmentRemoved,
                slicer.vtkSegmentation.SegmentModified,
            ):
                self._observers.add(node, event, self._fill)
            if node.GetDisplayNode() is not None:
                self._observers.add(node.GetDisplayNode(), "ModifiedEvent", self._fill)
        self._fill()

    @property
    def segmentCount(self) -> int:
        return self._table.rowCount()

    def displayedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self.segmentIDForRow(row) for row in range(self.segmentCount))

    def segmentIDForRow(self, row: int) -> str:
        item = self._table.item(row, NAME_COLUMN)
        return item.data(QtCore.Qt.ItemDataRole.UserRole) if item else ""

    def rowForSegmentID(self, segment_id: str) -> int:
        ids = self.displayedSegmentIDs()
        return ids.index(segment_id) if segment_id in ids else -1

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        rows = sorted(index.row() for index in self._table.selectionModel().selectedRows())
        return tuple(self.segmentIDForRow(row) for row in rows)

    def setSelectedSegmentIDs(self, segment_ids: list[str]) -> None:
        self._table.clearSelection()
        flags = QtCore.QItemSelectionModel.SelectionFlag
        for segment_id in segment_ids:
            index = self._table.model().index(self.rowForSegmentID(segment_id), 0)
            self._table.selectionModel().select(index, flags.Select | flags.Rows)

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def tableWidget(self) -> QtWidgets.QTableWidget:
        return self._table

    def _fill(self, *_arguments: Any) -> None:
        if self._filling:
            return
        self._filling = True
        node = self._segmentation_node
        segmentation = node.GetSegmentation() if node else None
        count = segmentation.GetNumberOfSegments() if segmentation else 0
        self._table.setRowCount(count)
        for row in range(count):
            self._fill_row(row, segmentation.GetNthSegmentID(row))
        self._filling = False

    def _fill_row(self, row: int, segment_id: str) -> None:
        segment = self._segmentation_node.GetSegmentation().GetSegment(segment_id)
        display = self._segmentation_node.GetDisplayNode()
        flags = QtCore.Qt.ItemFlag
        visible, color, opacity, name = (QtWidgets.QTableWidgetItem() for _ in range(4))
        shown = display is not None and display.GetSegmentVisibility(segment_id)
        visible.setCheckState(QtCore.Qt.CheckState.Checked if shown else QtCore.Qt.CheckState.Unchecked)
        color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
        opacity.setText(f"{display.GetSegmentOpacity3D(segment_id):.2f}" if display else "")
        name.setText(segment.GetName())
        name.setData(QtCore.Qt.ItemDataRole.UserRole, segment_id)
        for item in (color, opacity):
            item.setFlags(flags.ItemIsEnabled | flags.ItemIsSelectable)
        if self.readOnly:
            name.setFlags(flags.ItemIsEnabled | flags.ItemIsSelectable)
        for column, item in enumerate((visible, color, opacity, name)):
            self._table.setItem(row, column, item)

    def _edited(self, item: QtWidgets.QTableWidgetItem) -> None:
        if self._filling:
            return
        segment_id = self.segmentIDForRow(item.row())
        if item.column() == VISIBLE_COLUMN and self._segmentation_node.GetDisplayNode():
            shown = item.checkState() == QtCore.Qt.CheckState.Checked
            self._segmentation_node.GetDisplayNode().SetSegmentVisibility(segment_id, shown)
        elif item.column() == NAME_COLUMN:
            self._segmentation_node.GetSegmentation().GetSegment(segment_id).SetName(item.text())

    def _apply_selection_mode(self) -> None:
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode(self.selectionMode))


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The shell of the Segment Editor: it remembers its nodes in the editor node and has no effects."""

    EMITS = frozenset(
        {
            "mrmlSceneChanged(vtkMRMLScene*)",
            "currentSegmentIDChanged(QString)",
            "segmentationNodeChanged(vtkMRMLSegmentationNode*)",
            "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)",
        }
    )

    readOnly = Property("bool", False)
    segmentationNodeSelectorVisible = Property("bool", True)
    sourceVolumeNodeSelectorVisible = Property("bool", True)
    switchToSegmentationsButtonVisible = Property("bool", True)
    maximumNumberOfUndoStates = Property("int", 10)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._editor_node: Any = None

    def mrmlSegmentEditorNode(self) -> Any:
        return self._editor_node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._editor_node = node

    def segmentationNode(self) -> Any:
        return self._editor_node.GetSegmentationNode() if self._editor_node else None

    def setSegmentationNode(self, node: Any) -> None:
        """Edit a segmentation; without an editor node this does nothing, as in Slicer."""
        if self._editor_node is None or node is self.segmentationNode():
            return
        self._editor_node.SetAndObserveSegmentationNode(node)
        self.emit_signal("segmentationNodeChanged(vtkMRMLSegmentationNode*)", node)

    def sourceVolumeNode(self) -> Any:
        return self._editor_node.GetSourceVolumeNode() if self._editor_node else None

    def setSourceVolumeNode(self, node: Any) -> None:
        """Paint on this volume; without an editor node this does nothing, as in Slicer."""
        if self._editor_node is None or node is self.sourceVolumeNode():
            return
        self._editor_node.SetAndObserveSourceVolumeNode(node)
        self.emit_signal("sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", node)

    def currentSegmentID(self) -> str:
        return (self._editor_node.GetSelectedSegmentID() or "") if self._editor_node else ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        if self._editor_node is not None and segment_id != self.currentSegmentID():
            self._editor_node.SetSelectedSegmentID(segment_id)
            self.emit_signal("currentSegmentIDChanged(QString)", segment_id)
