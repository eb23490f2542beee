"""Which packages are missing and how they are asked for; nothing is really installed."""

from __future__ import annotations

import importlib.metadata
import sys
import types

import pytest

pytestmark = pytest.mark.host


@pytest.fixture
def installed(scene, monkeypatch):
    """The versions that the checks see; the test changes them."""
    versions = {
        "numpy": "2.4.6",
        "SimpleITK": "2.5.5",
        "torch": "2.13.0+cu130",
        "safetensors": "0.8.0",
        "connected-components-3d": "4.1.1",
        "edt": "3.1.2",
        "pydicom": "3.0.2",
        "jsonschema": "4.26.0",
    }

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.delenv("SEGDL_PYTHON", raising=False)
    return versions


@pytest.fixture
def pip(monkeypatch):
    """Requests to slicer.packaging.pip_ensure: the requirement texts and the lines of the constraints."""
    import slicer.packaging

    requests = []

    def ensure(requirements, constraints=None, requester=None, **options):
        with open(constraints, encoding="utf-8") as stream:
            requests.append(([str(item) for item in requirements], stream.read().split(), requester))

    monkeypatch.setattr(slicer.packaging, "pip_ensure", ensure)
    return requests


def names(requirements):
    return [str(item) for item in requirements]


def test_a_complete_python_misses_nothing_and_installs_nothing(installed, pip):
    from SegDLLib import dependencies

    assert dependencies.missing() == []
    assert dependencies.install() == []
    assert pip == []


def test_absent_old_and_broken_packages_are_missing(installed):
    from SegDLLib import dependencies

    del installed["edt"]
    installed["safetensors"] = "0.4.2"
    installed["torch"] = None  # importlib's answer for damaged metadata
    assert names(dependencies.missing()) == ["torch>=2.3", "safetensors>=0.4.3", "edt>=2.4"]


def test_versions_compare_by_number(installed):
    from SegDLLib import dependencies

    installed["connected-components-3d"] = "3.9"
    assert names(dependencies.missing()) == ["connected-components-3d>=3.18"]
    installed["connected-components-3d"] = "10.0.dev1"
    assert dependencies.missing() == []


def test_pip_is_bound_to_the_versions_that_slicer_has(installed, pip):
    from SegDLLib import dependencies

    del installed["edt"]
    dependencies.install()
    assert len(pip) == 1
    asked, constraints, requester = pip[0]
    assert asked == ["edt>=2.4"]
    assert {"numpy==2.4.6", "SimpleITK==2.5.5", "torch==2.13.0+cu130"} <= set(constraints)
    assert requester == "SegDL"


def test_torch_goes_through_its_extension(installed, pip, monkeypatch):
    from SegDLLib import dependencies

    del installed["torch"], installed["edt"]
    calls = []

    class PyTorchUtilsLogic:
        def installTorch(self, **options):
            calls.append(options)
            installed["torch"] = "2.13.0"
            return object()

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    dependencies.install()
    assert calls == [{"askConfirmation": True, "torchVersionRequirement": ">=2.3"}]
    assert pip[0][0] == ["edt>=2.4"]
    assert "torch==2.13.0" in pip[0][1]


def test_a_refusal_and_a_failure_say_how_to_install_without_internet(installed, monkeypatch):
    import slicer.packaging
    from SegDLEngine.errors import SegDLError
    from SegDLLib import dependencies

    def refuse(*requirements, **options):
        raise RuntimeError("Could not find a version that satisfies the requirement edt")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", refuse)
    del installed["edt"]
    with pytest.raises(SegDLError, match="Could not find a version") as caught:
        dependencies.install()
    assert caught.value.code == "dependency"
    assert "--no-index --find-links" in caught.value.hint
    assert '"edt>=2.4"' in caught.value.hint


def test_an_older_slicer_asks_and_installs_by_its_own_means(installed, monkeypatch):
    import slicer.util
    from SegDLEngine.errors import SegDLError
    from SegDLLib import dependencies

    del installed["edt"]
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    answers, asked = [False, True], []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_: answers.pop(0))
    monkeypatch.setattr(slicer.util, "pip_install", asked.append)
    with pytest.raises(SegDLError, match="not installed"):
        dependencies.install()
    assert asked == []
    dependencies.install()
    assert asked[0][:2] == ["edt>=2.4", "--constraint"]


def test_another_python_for_the_engine_needs_no_torch_here(installed, monkeypatch):
    from SegDLLib import dependencies

    del installed["torch"]
    monkeypatch.setenv("SEGDL_PYTHON", "/somewhere/python")
    assert dependencies.missing() == []


def test_the_list_agrees_with_the_package(scene):
    """The extension's list and the wheel's are the same ranges, but for what comes with Slicer."""
    import tomllib
    from pathlib import Path

    from SegDLLib.dependencies import requirements

    root = Path(__file__).resolve().parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheel = {item for item in project["dependencies"] if not item.startswith(("numpy", "SimpleITK"))}
    assert {str(item) for item in requirements()} == wheel
