"""The uncertainty overlay: on or off, how opaque, and from which value on."""

from __future__ import annotations

from SegDLLib.signals import Signal


class OverlaySection:
    """Signals ``visibleChosen(bool)``, ``opacityChosen(0..1)`` and ``thresholdChosen(value of the map)``."""

    def __init__(self, ui):
        self._ui = ui
        self.visibleChosen, self.opacityChosen, self.thresholdChosen = Signal(), Signal(), Signal()
        ui.overlayCheckBox.connect("toggled(bool)", self.visibleChosen.emit)
        ui.overlayOpacitySlider.connect("valueChanged(double)", self.opacityChosen.emit)
        ui.overlayThresholdSlider.connect("valueChanged(double)", self.thresholdChosen.emit)

    def show(self, available: bool, visible: bool, opacity: float, threshold: float, maximum: float) -> None:
        """``threshold`` and ``maximum`` are values of the map; all is disabled when there is none."""
        ui = self._ui
        widgets = (ui.overlayCheckBox, ui.overlayOpacitySlider, ui.overlayThresholdSlider)
        for widget in widgets:
            widget.blockSignals(True)
        ui.overlayCheckBox.setChecked(visible)
        ui.overlayOpacitySlider.setValue(opacity)
        ui.overlayThresholdSlider.maximum = maximum
        ui.overlayThresholdSlider.setValue(threshold)
        for widget in widgets:
            widget.blockSignals(False)
        ui.overlayCheckBox.setEnabled(available)
        ui.overlayOpacitySlider.setEnabled(available and visible)
        ui.overlayThresholdSlider.setEnabled(available and visible)
