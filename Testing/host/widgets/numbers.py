"""ctk's sliders and spin boxes."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from host.widgets.base import Property, StandInWidget, compact_layout

STEPS = 1000
"""Positions of the integer slider below a slider of real values."""


class ctkDoubleSpinBox(StandInWidget, QtWidgets.QWidget):
    """A spin box for real values."""

    EMITS = frozenset({"valueChanged(double)", "editingFinished()"})

    def _set_value(self, value: float) -> None:
        self._spin.setValue(value)

    value = property(lambda self: self._spin.value(), _set_value)
    minimum = property(lambda self: self._spin.minimum(), lambda self, value: self._spin.setMinimum(value))
    maximum = property(lambda self: self._spin.maximum(), lambda self, value: self._spin.setMaximum(value))
    singleStep = property(
        lambda self: self._spin.singleStep(), lambda self, value: self._spin.setSingleStep(value)
    )
    decimals = property(lambda self: self._spin.decimals(), lambda self, value: self._spin.setDecimals(value))
    prefix = property(lambda self: self._spin.prefix(), lambda self, value: self._spin.setPrefix(value))
    suffix = property(lambda self: self._spin.suffix(), lambda self, value: self._spin.setSuffix(value))
    text = property(lambda self: self._spin.text())

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._spin = QtWidgets.QDoubleSpinBox(self)
        compact_layout(self, self._spin)
        self._spin.valueChanged.connect(lambda value: self.emit_signal("valueChanged(double)", value))
        self._spin.editingFinished.connect(lambda: self.emit_signal("editingFinished()"))

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)


class ctkSliderWidget(StandInWidget, QtWidgets.QWidget):
    """A slider and a spin box with one real value."""

    EMITS = frozenset({"valueChanged(double)", "valueIsChanging(double)"})

    def _apply(self, _value: Any = None) -> None:
        self._spin.setRange(self.minimum, self.maximum)
        self._spin.setDecimals(self.decimals)
        self._spin.setSingleStep(self.singleStep)
        self._spin.setPrefix(self.prefix)
        self._spin.setSuffix(self.suffix)
        self._spin.setVisible(self.spinBoxVisible)
        self.value = self.value

    minimum = Property("double", 0.0, _apply)
    maximum = Property("double", 99.0, _apply)
    singleStep = Property("double", 1.0, _apply)
    pageStep = Property("double", 10.0)
    decimals = Property("int", 2, _apply)
    prefix = Property("QString", "", _apply)
    suffix = Property("QString", "", _apply)
    tracking = Property("bool", True)
    spinBoxVisible = Property("bool", True, _apply)
    tickInterval = Property("double", 0.0)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._value = 0.0
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, STEPS)
        self._spin = QtWidgets.QDoubleSpinBox(self)
        compact_layout(self, self._slider, self._spin)
        self._apply()
        self._slider.valueChanged.connect(self._from_slider)
        self._spin.valueChanged.connect(self._from_spin)

    @property
    def value(self) -> float:
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise AttributeError(f"property 'value' of ctkSliderWidget does not accept {value!r}")
        value = round(min(max(float(value), self.minimum), self.maximum), self.decimals)
        changed, self._value = value != self._value, value
        self._show()
        if changed:
            self.emit_signal("valueChanged(double)", value)

    def setValue(self, value: float) -> None:
        self.value = value

    def setDecimals(self, decimals: int) -> None:
        self.decimals = decimals

    def _show(self) -> None:
        span = self.maximum - self.minimum
        for part, value in (
            (self._slider, round(STEPS * (self._value - self.minimum) / span) if span else 0),
            (self._spin, self._value),
        ):
            blocked = part.blockSignals(True)
            part.setValue(value)
            part.blockSignals(blocked)

    def _from_slider(self, position: int) -> None:
        value = self.minimum + position / STEPS * (self.maximum - self.minimum)
        self.value = self.singleStep * round(value / self.singleStep) if self.singleStep else value

    def _from_spin(self, value: float) -> None:
        self.value = value


class ctkRangeWidget(StandInWidget, QtWidgets.QWidget):
    """Two spin boxes for the ends of an interval."""

    EMITS = frozenset(
        {"valuesChanged(double,double)", "minimumValueChanged(double)", "maximumValueChanged(double)"}
    )

    def _apply(self, _value: Any = None) -> None:
        for spin in (self._low, self._high):
            spin.setRange(self.minimum, self.maximum)
            spin.setDecimals(self.decimals)
            spin.setSingleStep(self.singleStep)
            spin.setSuffix(self.suffix)

    minimum = Property("double", 0.0, _apply)
    maximum = Property("double", 99.0, _apply)
    singleStep = Property("double", 1.0, _apply)
    decimals = Property("int", 2, _apply)
    suffix = Property("QString", "", _apply)
    minimumValue = property(lambda self: self._low.value(), lambda self, value: self._low.setValue(value))
    maximumValue = property(lambda self: self._high.value(), lambda self, value: self._high.setValue(value))

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high = QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self)
        compact_layout(self, self._low, self._high)
        self._apply()
        self._high.setValue(self.maximum)
        self._low.valueChanged.connect(lambda value: self._changed("minimumValueChanged(double)", value))
        self._high.valueChanged.connect(lambda value: self._changed("maximumValueChanged(double)", value))

    def setValues(self, low: float, high: float) -> None:
        self._low.setValue(low)
        self._high.setValue(high)

    def setRange(self, low: float, high: float) -> None:
        self.minimum, self.maximum = float(low), float(high)

    def _changed(self, signal: str, value: float) -> None:
        self.emit_signal(signal, value)
        self.emit_signal("valuesChanged(double,double)", self.minimumValue, self.maximumValue)
