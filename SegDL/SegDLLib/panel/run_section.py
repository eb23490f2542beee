"""The button that starts and cancels, the progress bar, and the line that says what happens."""

from __future__ import annotations

from slicer.i18n import tr as _

from SegDLLib.signals import Signal

# With a background of its own it is legible on light and on dark themes.
ERROR_STYLE = "color: #7b1b12; background-color: #fbe4e1; padding: 2px"


class RunSection:
    """Signals ``startClicked()`` and ``cancelClicked()``."""

    def __init__(self, ui):
        self._ui = ui
        self._running = False
        self._hinting = False
        self.startClicked, self.cancelClicked = Signal(), Signal()
        ui.runButton.connect("clicked()", self._onClicked)

    def showIdle(self, hint: str) -> None:
        """The button starts, unless ``hint`` says what is missing before it can."""
        self._running = False
        self._ui.runButton.setText(_("Segment tumor"))
        self._ui.runButton.setEnabled(not hint)
        self._ui.runButton.setToolTip(hint or _("Find the tumor in these images."))
        self._ui.progressBar.setVisible(False)
        # What the last run said stays until there is something to say about the next.
        if hint or self._hinting:
            self.showMessage(hint)
            self._hinting = bool(hint)

    def showRunning(self) -> None:
        self._running = True
        self._ui.runButton.setText(_("Cancel"))
        self._ui.runButton.setEnabled(True)
        self._ui.runButton.setToolTip(_("Stop; the scene stays as it was."))
        self._ui.progressBar.setValue(0)
        self._ui.progressBar.setVisible(True)
        self.showMessage(_("Starting the engine..."))

    def showCancelling(self) -> None:
        self._ui.runButton.setEnabled(False)
        self.showMessage(_("Cancelling..."))

    def showProgress(self, fraction: float, text: str) -> None:
        """``fraction`` 0..1 of the whole."""
        self._ui.progressBar.setValue(round(1000 * fraction))
        self.showMessage(text)

    def showMessage(self, text: str, *, error: bool = False) -> None:
        self._hinting = False
        self._ui.statusLabel.setStyleSheet(ERROR_STYLE if error else "")
        self._ui.statusLabel.setText(text)

    def _onClicked(self) -> None:
        (self.cancelClicked if self._running else self.startClicked).emit()
