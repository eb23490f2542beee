"""The Python packages that the engine needs: which are missing, and installing them when the user says so.

Nothing is installed at import.  SimpleITK, numpy and an installed torch are never replaced.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import slicer
from SegDLEngine.errors import SegDLError

REQUIREMENTS_FILE = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"

# Installed or not, pip must leave these at the version that is there.
_KEPT = ("numpy", "SimpleITK", "torch", "vtk")


@dataclass(frozen=True)
class Requirement:
    """A package by the name that pip uses, and its lowest version."""

    name: str
    lowest: str

    def __str__(self) -> str:
        return f"{self.name}>={self.lowest}"

    @property
    def fulfilled(self) -> bool:
        found = installedVersion(self.name)
        return found is not None and _numbers(found) >= _numbers(self.lowest)


def requirements() -> list[Requirement]:
    """The packages of ``Resources/requirements.txt``."""
    found = []
    for line in REQUIREMENTS_FILE.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text:
            name, _, lowest = text.partition(">=")
            found.append(Requirement(name.strip(), lowest.strip()))
    return found


def missing() -> list[Requirement]:
    """Packages that are absent or too old; torch is not asked for where another Python runs the engine."""
    from SegDLLib.python_command import PYTHON_VARIABLE

    elsewhere = {"torch"} if os.environ.get(PYTHON_VARIABLE) else set()
    return [wanted for wanted in requirements() if wanted.name not in elsewhere and not wanted.fulfilled]


def installedVersion(name: str) -> str | None:
    """The installed version of a package; None if absent or if its metadata are broken."""
    try:
        return importlib.metadata.version(name) or None
    except (importlib.metadata.PackageNotFoundError, KeyError, ValueError, TypeError, OSError):
        return None


def install() -> list[Requirement]:
    """Ask the user, install what is missing and return what still is; raises SegDLError when pip fails.

    torch goes through the PyTorch extension where it is installed, because that picks the build for the
    graphics card.
    """
    wanted = missing()
    if not wanted:
        return []
    try:
        if any(item.name == "torch" for item in wanted) and _installTorchByExtension():
            wanted = missing()
        if wanted:
            _pipInstall(wanted)
    except SegDLError:
        raise
    except Exception as error:
        # pip's wrappers raise RuntimeError or CalledProcessError for a refusal and for a failure alike.
        raise SegDLError(
            f"The packages were not installed: {error}.",
            hint=offlineHint(),
            code="dependency",
            detail=str(error),
        ) from error
    importlib.invalidate_caches()
    return missing()


def offlineHint() -> str:
    """What to do on a computer without internet."""
    names = " ".join(f'"{item}"' for item in missing())
    return (
        "Without internet: on a connected computer of the same system run "
        f"'PythonSlicer -m pip download -d packages {names}', copy the folder, and run "
        f"'PythonSlicer -m pip install --no-index --find-links packages {names}' here."
    )


def _installTorchByExtension() -> bool:
    """True if the PyTorch extension is here and was asked to install torch."""
    try:
        import PyTorchUtils
    except ImportError:
        return False
    lowest = next(item.lowest for item in requirements() if item.name == "torch")
    torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
        askConfirmation=True, torchVersionRequirement=f">={lowest}"
    )
    if torch is None:
        raise SegDLError(
            "PyTorch was not installed.", hint="Press Install again and confirm.", code="dependency"
        )
    return True


def _pipInstall(wanted: list[Requirement]) -> None:
    with tempfile.TemporaryDirectory(prefix="SegDL-", dir=slicer.app.temporaryPath) as folder:
        constraints = Path(folder) / "constraints.txt"
        pinned = [(name, installedVersion(name)) for name in _KEPT]
        lines = [f"{name}=={version}\n" for name, version in pinned if version is not None]
        constraints.write_text("".join(lines), encoding="utf-8")
        try:
            from slicer.packaging import pip_ensure
        except ImportError:
            _pipInstallOlderSlicer(wanted, constraints)
            return
        from packaging.requirements import Requirement as PipRequirement

        # It asks, shows progress and offers a restart where that is needed.
        pip_ensure([PipRequirement(str(item)) for item in wanted], constraints=constraints, requester="SegDL")


def _pipInstallOlderSlicer(wanted: list[Requirement], constraints: Path) -> None:
    names = ", ".join(str(item) for item in wanted)
    if not slicer.util.confirmOkCancelDisplay(
        f"SegDL needs Python packages that are not installed:\n{names}"
    ):
        raise SegDLError(
            "The packages were not installed.", hint="Press Install again and confirm.", code="dependency"
        )
    slicer.util.pip_install([*(str(item) for item in wanted), "--constraint", str(constraints)])


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: '2.13.0+cpu' -> (2, 13, 0)."""
    return tuple(int(part) for part in re.match(r"[\d.]*", version).group().split(".") if part)
