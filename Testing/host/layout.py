"""The layout manager: Slicer's views as module code reaches them, drawn off screen on demand."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from host import views
from host.widgets.base import StandInWidget
from host.widgets.containers import qMRMLWidget


class qMRMLSliceView(StandInWidget, QtWidgets.QWidget):
    """The picture part of a slice widget."""

    def __init__(self, view: views.SliceView) -> None:
        super().__init__()
        self._view = view

    def mrmlSliceNode(self) -> Any:
        return self._view.node

    def scheduleRender(self) -> None:
        """Pictures are drawn when they are asked for."""

    forceRender = scheduleRender


class qMRMLSliceWidget(qMRMLWidget):
    """A slice view with its nodes and its logic."""

    def __init__(self, view: views.SliceView) -> None:
        super().__init__()
        self._view = view
        self._slice_view = qMRMLSliceView(view)

    def mrmlSliceNode(self) -> Any:
        return self._view.node

    def mrmlSliceCompositeNode(self) -> Any:
        return self._view.composite

    def sliceLogic(self) -> Any:
        return self._view.logic

    def sliceView(self) -> qMRMLSliceView:
        return self._slice_view

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()

    @property
    def sliceOrientation(self) -> str:
        return self._view.node.GetOrientation()

    def setSliceOrientation(self, orientation: str) -> None:
        self._view.node.SetOrientation(orientation)


class qMRMLThreeDView(StandInWidget, QtWidgets.QWidget):
    """The picture part of a 3D widget; the camera is reset when a picture is drawn."""

    def __init__(self, view: views.ThreeDView) -> None:
        super().__init__()
        self._view = view

    def mrmlViewNode(self) -> Any:
        return self._view.node

    def resetFocalPoint(self) -> None:
        """See the class: every picture looks at everything."""

    resetCamera = scheduleRender = forceRender = resetFocalPoint


class qMRMLThreeDWidget(qMRMLWidget):
    """The 3D view with its node."""

    def __init__(self, view: views.ThreeDView) -> None:
        super().__init__()
        self._view = view
        self._threed_view = qMRMLThreeDView(view)

    def mrmlViewNode(self) -> Any:
        return self._view.node

    def threeDView(self) -> qMRMLThreeDView:
        return self._threed_view


class qSlicerLayoutManager(StandInWidget, QtCore.QObject):
    """``slicer.app.layoutManager()`` with three slice views and one 3D view."""

    EMITS = frozenset({"layoutChanged(int)"})

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._app = app
        self.host_views = views.ViewLayout(app)
        self._slices = {name: qMRMLSliceWidget(view) for name, view in self.host_views.slices.items()}
        self._threed = qMRMLThreeDWidget(self.host_views.threed)
        for widget in (*self._slices.values(), self._threed):
            widget.setMRMLScene(app.mrmlScene())

    @property
    def layout(self) -> int:
        return self._layout_node().GetViewArrangement()

    @layout.setter
    def layout(self, arrangement: int) -> None:
        self.setLayout(arrangement)

    threeDViewCount = property(lambda self: 1)
    tableViewCount = property(lambda self: 0)
    plotViewCount = property(lambda self: 0)

    def setLayout(self, arrangement: int) -> None:
        """Note the arrangement in the layout node; the host always has the same four views."""
        if arrangement != self.layout:
            self._layout_node().SetViewArrangement(arrangement)
            self.emit_signal("layoutChanged(int)", arrangement)

    def mrmlScene(self) -> Any:
        return self._app.mrmlScene()

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        return self._slices.get(name)

    def threeDWidget(self, index: int) -> qMRMLThreeDWidget | None:
        return self._threed if index == 0 else None

    def mrmlSliceLogics(self) -> Any:
        return self._app.applicationLogic().GetSliceLogics()

    def resetSliceViews(self) -> None:
        for view in self.host_views.slices.values():
            view.fit()

    def resetThreeDViews(self) -> None:
        self._threed.threeDView().resetFocalPoint()

    def pauseRender(self) -> None:
        """Nothing is drawn unasked."""

    resumeRender = pauseRender

    def _layout_node(self) -> Any:
        return self._app.mrmlScene().GetFirstNodeByClass("vtkMRMLLayoutNode")
