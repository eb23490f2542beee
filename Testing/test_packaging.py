"""What is listed is what is there: CMake lists, the wheel, and the extension's resources."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("SegDL", "SegDLTraining")
RESOURCE_SUFFIXES = {".ui", ".png", ".json", ".safetensors", ".txt", ".py", ".csv", ".ctbl"}


def cmake_list(module: str, name: str) -> list[str]:
    text = (ROOT / module / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(rf"set\({name}\s([^)]*)\)", text)
    assert found, f"{module}/CMakeLists.txt has no list {name}"
    return found.group(1).replace("${MODULE_NAME}", module).split()


def tracked(module: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", module],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return {str(Path(name).relative_to(module).as_posix()) for name in listed if (ROOT / name).is_file()}


@pytest.mark.parametrize("module", MODULES)
def test_every_script_is_listed_and_every_listed_script_exists(module):
    listed = cmake_list(module, "MODULE_PYTHON_SCRIPTS")
    scripts = {
        name
        for name in tracked(module)
        if name.endswith(".py") and not name.startswith(("Testing/", "Resources/"))
    }
    assert len(listed) == len(set(listed)), "a script is listed twice"
    assert set(listed) == scripts


@pytest.mark.parametrize("module", MODULES)
def test_every_resource_is_listed_and_every_listed_resource_exists(module):
    listed = cmake_list(module, "MODULE_PYTHON_RESOURCES")
    files = tracked(module)
    resources = {name for name in files if name.startswith("Resources/")}
    resources |= {
        name
        for name in files
        if not name.endswith(".py") and not name.startswith("Testing/") and name != "CMakeLists.txt"
    }
    assert len(listed) == len(set(listed)), "a resource is listed twice"
    assert set(listed) == resources
    assert {Path(name).suffix for name in listed} <= RESOURCE_SUFFIXES


def test_only_module_files_lie_directly_in_a_module_folder():
    """Slicer takes every .py directly in a module folder for a module of its own."""
    for module in MODULES:
        assert {path.name for path in (ROOT / module).glob("*.py")} == {f"{module}.py"}


def test_the_extension_adds_both_modules_and_depends_on_pytorch():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"add_subdirectory\((\w+)\)", text) == list(MODULES)
    assert re.search(r'set\(EXTENSION_DEPENDS "PyTorch"\)', text)
    assert re.search(r"cmake_minimum_required\(VERSION 3\.28\.0\.\.\.3\.28\.0 FATAL_ERROR\)", text)


@pytest.mark.parametrize("folder", [f"{module}/Testing" for module in MODULES])
def test_listed_test_folders_exist(folder):
    for name in re.findall(r"add_subdirectory\((\w+)\)", (ROOT / folder / "CMakeLists.txt").read_text()):
        assert (ROOT / folder / name / "CMakeLists.txt").is_file()


def test_the_wheel_holds_the_engine_the_training_and_their_data(tmp_path):
    pytest.importorskip("setuptools", reason="building a wheel needs setuptools")
    copy = tmp_path / "source"
    for name in [f"{module}/{file}" for module in MODULES for file in tracked(module)] + [
        "pyproject.toml",
        "README.md",
        "LICENSE.txt",
    ]:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(tmp_path),
            str(copy),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("segdl-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    expected = {
        name
        for module, package in (("SegDL", "SegDLEngine/"), ("SegDLTraining", "SegDLTrainingLib/"))
        for name in tracked(module)
        if name.startswith(package)
    }
    code = {name for name in packed if not name.startswith("segdl-")}
    assert code == expected
    entry_points = next(name for name in packed if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(entry_points).decode()
    assert "segdl = " in text and "segdl-train = " in text


def test_line_ends_are_unix_and_no_file_is_large():
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split():
        path = ROOT / name
        if path.is_file():
            assert path.stat().st_size < 6_000_000, f"{name} is too large for the extension's repository"
            if path.suffix in {".py", ".ui", ".md", ".json", ".toml", ".txt"}:
                assert b"\r\n" not in path.read_bytes(), f"{name} has Windows line ends"
