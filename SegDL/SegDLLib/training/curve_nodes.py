"""The curve of a training in the scene: a table with a row for each epoch, and charts of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

# On the table: which training it is, so that one that goes on finds its rows.
TRAINING = "SegDL.Training"
# On the table, with the name of the chart behind it.
_CHART_ROLE = "SegDL.Chart."
_EPOCH = "epoch"


@dataclass(frozen=True)
class Curve:
    """A column of the table: its key in a row of the training, its heading, and the chart it belongs to."""

    key: str
    title: str
    chart: str = ""
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)


def _curves() -> tuple[Curve, ...]:
    return (
        Curve("loss", _("Loss"), "quality", (0.80, 0.25, 0.20)),
        Curve("validation_dice", _("Validation Dice"), "quality", (0.15, 0.50, 0.75)),
        Curve("rate", _("Learning rate"), "rate", (0.45, 0.35, 0.65)),
        Curve("seconds", _("Seconds")),
    )


def _titles() -> dict[str, str]:
    """The charts by name, the first shown first."""
    return {"quality": _("Loss and validation Dice"), "rate": _("Learning rate")}


def tableOfTraining(output: str):
    """The table of the training whose package ``output`` is, or None."""
    tables = slicer.util.getNodesByClass("vtkMRMLTableNode")
    return next((node for node in tables if node.GetAttribute(TRAINING) == output), None)


def makeCurves(output: str, name: str):
    """The vtkMRMLTableNode of a training with its charts; what is there, or new nodes."""
    table = tableOfTraining(output) or _newTable(output, name)
    _completeCharts(table)
    return table


def _newTable(output: str, name: str):
    scene = slicer.mrmlScene
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
    table.SetAttribute(TRAINING, output)
    _addColumn(table, vtk.vtkIntArray(), _EPOCH, _("Epoch"))
    for curve in _curves():
        _addColumn(table, vtk.vtkDoubleArray(), curve.key, curve.title)
    table.SetUseColumnTitleAsColumnHeader(True)
    return table


def setRow(table, row: Mapping[str, Any]) -> None:
    """Write the row of an epoch, in its place if it is there; what the row lacks becomes NaN.

    ``row`` counts epochs from 0, the table from 1.
    """
    content = table.GetTable()
    epoch = int(row["epoch"]) + 1
    epochs = content.GetColumnByName(_EPOCH)
    place = next(
        (index for index in range(epochs.GetNumberOfTuples()) if epochs.GetValue(index) == epoch), -1
    )
    if place < 0:
        place = content.InsertNextBlankRow()
    epochs.SetValue(place, epoch)
    for curve in _curves():
        value = row.get(curve.key)
        content.GetColumnByName(curve.key).SetValue(place, math.nan if value is None else float(value))
    # Views of tables and of charts listen to one each.
    content.Modified()
    table.Modified()


def charts(table) -> list[Any]:
    """The vtkMRMLPlotChartNodes of a training's table, the one with the loss first."""
    found = [table.GetNodeReference(_CHART_ROLE + name) for name in _titles()]
    return [chart for chart in found if chart is not None]


def showCharts(table) -> None:
    """Show the first chart in the layout, which gets a plot view if it has none."""
    _completeCharts(table)
    slicer.modules.plots.logic().ShowChartInLayout(charts(table)[0])


def _addColumn(table, array, key: str, title: str) -> None:
    array.SetName(key)
    table.AddColumn(array)
    table.SetColumnTitle(key, title)


def _completeCharts(table) -> None:
    """Make the charts and series that are not there, or that the user has removed."""
    for name, title in _titles().items():
        curves = [curve for curve in _curves() if curve.chart == name]
        chart = table.GetNodeReference(_CHART_ROLE + name) or _newChart(table, name, title, curves)
        series = [chart.GetNthPlotSeriesNode(index) for index in range(chart.GetNumberOfPlotSeriesNodes())]
        shown = {item.GetYColumnName() for item in series if item is not None}
        for curve in curves:
            if curve.key not in shown:
                _addSeries(chart, table, curve)


def _newChart(table, name: str, title: str, curves: list[Curve]):
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{table.GetName()} {title.lower()}")
    chart.SetTitle(title)
    chart.SetXAxisTitle(_("Epoch"))
    chart.SetYAxisLogScale(curves[0].key == "rate")
    table.SetNodeReferenceID(_CHART_ROLE + name, chart.GetID())
    return chart


def _addSeries(chart, table, curve: Curve) -> None:
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", curve.title)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(_EPOCH)
    series.SetYColumnName(curve.key)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
    series.SetColor(*curve.color)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
