"""The line that says which Python packages are missing, with the button that installs them."""

from __future__ import annotations

from collections.abc import Sequence

from slicer.i18n import tr as _

from SegDLLib.signals import Signal


class DependencySection:
    """Signal ``installClicked()``."""

    def __init__(self, ui):
        self._ui = ui
        self.installClicked = Signal()
        ui.installButton.connect("clicked()", self.installClicked.emit)

    def show(self, missing: Sequence[str]) -> None:
        """Name the missing packages; hidden when there are none."""
        self._ui.dependencyFrame.setVisible(bool(missing))
        self._ui.dependencyLabel.setText(
            _("Python packages are missing: {names}").format(names=", ".join(missing))
        )
