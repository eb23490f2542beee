"""Device, uncertainty samples and the lesion filter."""

from __future__ import annotations

import sys

from slicer.i18n import tr as _

from SegDLLib.signals import Signal


class OptionsSection:
    """Signals ``deviceChosen(name)``, ``samplesChosen(int or None)``, ``minimumMlChosen(float or None)``.

    None is the model's own choice; the spin boxes show it at their lowest value.
    """

    def __init__(self, ui):
        self._ui = ui
        self.deviceChosen, self.samplesChosen, self.minimumMlChosen = Signal(), Signal(), Signal()
        for text, device in _devices():
            ui.deviceSelector.addItem(text, device)
        ui.deviceSelector.connect("currentIndexChanged(int)", self._onDevice)
        ui.samplesSpinBox.connect("valueChanged(int)", self._onSamples)
        ui.minimumMlSpinBox.connect("valueChanged(double)", self._onMinimumMl)

    def show(self, device: str, samples: int | None, minimumMl: float | None) -> None:
        ui = self._ui
        for widget in self._widgets():
            widget.blockSignals(True)
        index = ui.deviceSelector.findData(device)
        if index < 0:
            ui.deviceSelector.addItem(device, device)
            index = ui.deviceSelector.count - 1
        ui.deviceSelector.setCurrentIndex(index)
        ui.samplesSpinBox.setValue(-1 if samples is None else samples)
        ui.minimumMlSpinBox.setValue(ui.minimumMlSpinBox.minimum if minimumMl is None else minimumMl)
        for widget in self._widgets():
            widget.blockSignals(False)

    def setEnabled(self, enabled: bool) -> None:
        for widget in self._widgets():
            widget.setEnabled(enabled)

    def _widgets(self):
        return self._ui.deviceSelector, self._ui.samplesSpinBox, self._ui.minimumMlSpinBox

    def _onDevice(self, index: int) -> None:
        self.deviceChosen.emit(self._ui.deviceSelector.itemData(index))

    def _onSamples(self, value: int) -> None:
        self.samplesChosen.emit(None if value < 0 else value)

    def _onMinimumMl(self, value: float) -> None:
        self.minimumMlChosen.emit(None if value < 0 else value)


def _devices() -> list[tuple[str, str]]:
    """What can be asked for; whether it exists is found out by the engine, which has torch."""
    own = (_("Apple GPU"), "mps") if sys.platform == "darwin" else (_("NVIDIA GPU (CUDA)"), "cuda")
    return [(_("Automatic"), "auto"), own, (_("Processor (CPU)"), "cpu")]
