"""Slicer's slice and 3D views drawn off screen by its own displayable managers, and pictures of them.

    layout = views.ViewLayout(slicer.app)
    layout.show(volume, foreground=uncertainty, opacity=0.4)
    layout.jump_to((12.0, -30.5, 104.0))
    layout.save_montage("views.png")

What the application adds around a view (controller bar, corner annotations, mouse) is not drawn.  Ask
:func:`host.requirements.graphics_problem` first: without a usable OpenGL VTK may end the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slicer
import vtk

SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)
THREED_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
SLICE_VIEWS = {
    "Red": ("Axial", (0.952, 0.290, 0.200)),
    "Yellow": ("Sagittal", (0.929, 0.835, 0.298)),
    "Green": ("Coronal", (0.431, 0.690, 0.294)),
}
"""Orientation and colour of the three slice views of Slicer's standard layouts."""

SKY = ((0.756, 0.764, 0.910), (0.454, 0.470, 0.745))
"""Colours of the 3D view's background, bottom and top."""


class _View:
    """A view node with its logic; the window is made when the first picture is wanted."""

    node: Any

    def __init__(self, app: Any, size: tuple[int, int]) -> None:
        self._application_logic = app.applicationLogic()
        self._scene = app.mrmlScene()
        self.size = size
        self._window: Any = None
        self._kept: list[Any] = []

    def _make_window(self, factory_class: Any, managers: Sequence[str]) -> Any:
        """The renderer of a new off-screen window whose contents Slicer's managers draw."""
        renderer = vtk.vtkRenderer()
        self._window = vtk.vtkRenderWindow()
        self._window.ShowWindowOff()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(*self.size)
        self._window.AddRenderer(renderer)
        interactor = vtk.vtkGenericRenderWindowInteractor()
        interactor.SetRenderWindow(self._window)
        interactor.Initialize()
        factory = factory_class.GetInstance()
        factory.SetMRMLApplicationLogic(self._application_logic)
        for manager in managers:
            if hasattr(slicer, manager) and not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(renderer)
        group.Initialize(factory, renderer)
        group.SetMRMLDisplayableNode(self.node)
        self._kept += [interactor, group]
        return renderer

    def _prepare(self) -> None:
        """Bring the window up to date before a picture is taken."""

    def image(self) -> Any:
        """The view as it looks now, a vtkImageData of RGB bytes."""
        self._prepare()
        self._window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        grabber.ShouldRerenderOff()
        grabber.Update()
        return grabber.GetOutput()

    def png(self, path: str | Path) -> Path:
        """Write the view as it looks now; returns the path."""
        return write_png(self.image(), path)


class SliceView(_View):
    """A slice view, by default named like one of the application's."""

    def __init__(
        self,
        app: Any,
        name: str = "Red",
        orientation: str = "",
        size: tuple[int, int] = (400, 400),
    ) -> None:
        super().__init__(app, size)
        standard, color = SLICE_VIEWS.get(name, ("Axial", (0.5, 0.5, 0.5)))
        self.name = name
        self.logic = self._application_logic.GetSliceLogicByLayoutName(name) or self._new_logic(name)
        self.node = self.logic.GetSliceNode()
        self.node.SetOrientation(orientation or standard)
        self.node.SetMappedInLayout(1)
        self.node.SetLayoutColor(*color)
        self.composite = self.logic.GetSliceCompositeNode()
        self.logic.ResizeSliceNode(*size)

    def _new_logic(self, name: str) -> Any:
        """A slice logic for the scene's slice node of this name, which is made if there is none."""
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application_logic)
        self._application_logic.GetSliceLogics().AddItem(logic)
        logic.SetMRMLScene(self._scene)
        node = self._scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if node is None:
            logic.AddSliceNode(name)
        else:
            logic.SetSliceNode(node)
        return logic

    def show(
        self, background: Any = None, foreground: Any = None, label: Any = None, opacity: float = 0.5
    ) -> None:
        """Choose the volumes of the view; ``opacity`` is that of the foreground."""
        self.composite.SetBackgroundVolumeID(background.GetID() if background else None)
        self.composite.SetForegroundVolumeID(foreground.GetID() if foreground else None)
        self.composite.SetForegroundOpacity(opacity)
        self.composite.SetLabelVolumeID(label.GetID() if label else None)
        self.fit()

    def fit(self) -> None:
        """Turn the view to the volume's axes and let the volume fill it."""
        self.logic.ResizeSliceNode(*self.size)
        self.logic.RotateSliceToLowestVolumeAxes(False)
        self.logic.FitSliceToBackground()
        self.logic.SnapSliceOffsetToIJK()

    def zoom(self, width_mm: float) -> None:
        """Let the view be ``width_mm`` wide."""
        width, height, depth = self.node.GetFieldOfView()
        self.node.SetFieldOfView(width_mm, height * width_mm / width, depth)

    def center_on(self, ras: Sequence[float]) -> None:
        """Show the slice through a point (RAS, mm), with the point in the middle."""
        self.node.JumpSliceByCentering(*ras)

    def _prepare(self) -> None:
        if self._window is None:
            overlay = self._make_window(slicer.vtkMRMLSliceViewDisplayableManagerFactory, SLICE_MANAGERS)
            overlay.GetActiveCamera().ParallelProjectionOn()
            # As in the application the slice has a layer of its own: in one layer with it, translucent
            # fills of segments would blend with the black behind the slice.
            behind = vtk.vtkRenderer()
            self._window.SetNumberOfLayers(max(2, self._window.GetNumberOfLayers()))
            overlay.SetLayer(1)
            self._window.AddRenderer(behind)
            self._mapper = vtk.vtkImageMapper()
            self._mapper.SetColorWindow(255)
            self._mapper.SetColorLevel(127.5)
            self._actor = vtk.vtkActor2D()
            self._actor.SetMapper(self._mapper)
            behind.AddViewProp(self._actor)
            self._kept.append(behind)
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)


class ThreeDView(_View):
    """The 3D view."""

    def __init__(self, app: Any, name: str = "1", size: tuple[int, int] = (400, 400)) -> None:
        super().__init__(app, size)
        self.node = self._scene.GetSingletonNode(name, "vtkMRMLViewNode") or self._new_node(name)
        self.node.SetMappedInLayout(1)
        self._renderer: Any = None

    def _new_node(self, name: str) -> Any:
        logic = slicer.vtkMRMLViewLogic()
        logic.SetMRMLApplicationLogic(self._application_logic)
        self._application_logic.GetViewLogics().AddItem(logic)
        logic.SetMRMLScene(self._scene)
        self._kept.append(logic)
        return logic.AddViewNode(name)

    def reset(self, azimuth: float = 0.0, elevation: float = 0.0) -> None:
        """Look at everything from the front (anterior), moved round it by the angles (degrees)."""
        self._prepare()
        box = self.node.GetBoxVisible()
        self.node.SetBoxVisible(0)
        camera = self._renderer.GetActiveCamera()
        camera.SetFocalPoint(0.0, 0.0, 0.0)
        camera.SetPosition(0.0, 1.0, 0.0)
        camera.SetViewUp(0.0, 0.0, 1.0)
        camera.Azimuth(azimuth)
        camera.Elevation(elevation)
        self._renderer.ResetCamera()
        self.node.SetBoxVisible(box)
        self._renderer.ResetCameraClippingRange()

    def _prepare(self) -> None:
        if self._window is None:
            self._renderer = self._make_window(
                slicer.vtkMRMLThreeDViewDisplayableManagerFactory, THREED_MANAGERS
            )
            self._renderer.SetUseDepthPeeling(True)
            self._renderer.SetBackground(*SKY[0])
            self._renderer.SetBackground2(*SKY[1])
            self._renderer.GradientBackgroundOn()


class ViewLayout:
    """The three slice views and the 3D view of Slicer's standard layout."""

    def __init__(self, app: Any, size: tuple[int, int] = (400, 400)) -> None:
        self.slices = {name: SliceView(app, name, size=size) for name in SLICE_VIEWS}
        self.threed = ThreeDView(app, size=size)

    def show(
        self, background: Any = None, foreground: Any = None, label: Any = None, opacity: float = 0.5
    ) -> None:
        """Choose the volumes of all slice views and fit them."""
        for view in self.slices.values():
            view.show(background, foreground, label, opacity)

    def jump_to(self, ras: Sequence[float], width_mm: float | None = None) -> None:
        """Centre all slice views on a point (RAS, mm), optionally zoomed to a width."""
        for view in self.slices.values():
            if width_mm:
                view.zoom(width_mm)
            view.center_on(ras)

    def save_montage(self, path: str | Path, azimuth: float = 25.0, elevation: float = 15.0) -> Path:
        """One PNG: axial and 3D above, coronal and sagittal below."""
        self.threed.reset(azimuth, elevation)
        rows = [
            [self.slices["Red"].image(), self.threed.image()],
            [self.slices["Green"].image(), self.slices["Yellow"].image()],
        ]
        return write_png(montage(rows), path)


def montage(rows: Sequence[Sequence[Any]]) -> Any:
    """Pictures (vtkImageData of one size) side by side in rows, the first row on top."""
    appended = [_append(row, axis=0) for row in rows]
    return _append(list(reversed(appended)), axis=1)


def write_png(image: Any, path: str | Path) -> Path:
    """Write a vtkImageData as PNG; returns the path.

    Raises:
        OSError: the file could not be written.
    """
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()
    if writer.GetErrorCode() or not Path(path).is_file():
        raise OSError(f"{path} could not be written")
    return Path(path)


def _append(images: Sequence[Any], axis: int) -> Any:
    appender = vtk.vtkImageAppend()
    appender.SetAppendAxis(axis)
    for image in images:
        appender.AddInputData(image)
    appender.Update()
    return appender.GetOutput()
