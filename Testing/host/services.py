"""Small Python modules of the application that modules import: translation, packages, sample data."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from host import base_classes


@dataclass
class SampleDataSource:
    """One registered sample data set; the fields are those of Slicer's own registration function."""

    sampleName: str
    category: str
    uris: list[str]
    fileNames: list[str]
    nodeNames: list[str]
    checksums: list[str]
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class PackageRequest:
    """A request of a module to install Python packages, which the host only records."""

    requirements: list[str]
    arguments: dict[str, Any]


sample_data: list[SampleDataSource] = []
package_requests: list[PackageRequest] = []


def install() -> None:
    """Add the modules ``slicer.i18n``, ``slicer.packaging``, ``slicer.ScriptedLoadableModule`` and
    ``SampleData``."""
    _add("slicer.i18n", tr=_translated, translate=lambda _context, text: _translated(text))
    _add(
        "slicer.packaging",
        load_requirements=load_requirements,
        pip_check=pip_check,
        pip_ensure=pip_ensure,
        pip_install=pip_install,
    )
    classes = {cls.__name__: cls for cls in base_classes.CLASSES}
    _add("slicer.ScriptedLoadableModule", __all__=list(classes), **classes)
    _add("SampleData", SampleDataLogic=SampleDataLogic)


def _add(name: str, **contents: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module
    if name.startswith("slicer."):
        setattr(slicer, name.removeprefix("slicer."), module)


def _translated(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a text to translate is a str, not {type(text).__name__}")
    return text


def load_requirements(path: str | Path) -> list[str]:
    """Requirements in a requirements file, one each, without comments."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def pip_check(requirements: str | Iterable[str]) -> bool:
    """True when every requirement is installed in a version that it accepts."""
    wanted = [requirements] if isinstance(requirements, str) else list(requirements)
    return all(_installed(str(item)) for item in wanted)


def pip_ensure(requirements: str | Iterable[str], **arguments: Any) -> None:
    """Do nothing when the requirements are met, as in Slicer.

    Raises:
        RuntimeError: they are not; the host installs nothing, as if the user had declined.
    """
    wanted = [requirements] if isinstance(requirements, str) else list(requirements)
    package_requests.append(PackageRequest([str(item) for item in wanted], arguments))
    missing = [str(item) for item in wanted if not _installed(str(item))]
    if missing:
        raise RuntimeError(f"the user declined to install {', '.join(missing)}")


def pip_install(requirements: str | Iterable[str], **arguments: Any) -> None:
    """Record the request; the host installs nothing."""
    wanted = requirements.split() if isinstance(requirements, str) else list(requirements)
    package_requests.append(PackageRequest([str(item) for item in wanted], arguments))


def _installed(requirement: str) -> bool:
    match = re.match(r"\s*([\w.-]+)(?:\[[^\]]*\])?\s*([^;]*)", requirement)
    if match is None:
        raise ValueError(f"requirement {requirement!r} is not understood")
    try:
        version = importlib.metadata.version(match[1])
    except importlib.metadata.PackageNotFoundError:
        return False
    return all(_accepts(version, bound.strip()) for bound in match[2].split(",") if bound.strip())


def _accepts(version: str, bound: str) -> bool:
    match = re.match(r"(>=|<=|==|!=|~=|>|<)\s*(.+)", bound)
    if match is None:
        raise ValueError(f"version bound {bound!r} is not understood")
    have, want = _numbers(version), _numbers(match[2])
    checks = {
        ">=": have >= want,
        "<=": have <= want,
        "==": have[: len(want)] == want,
        "!=": have[: len(want)] != want,
        "~=": have >= want and have[: len(want) - 1] == want[:-1],
        ">": have > want,
        "<": have < want,
    }
    return checks[match[1]]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0]))


class SampleDataLogic:
    """Stand-in for the sample data module: keeps what modules register, downloads nothing."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str | None = None,
        sampleName: str | None = None,
        uris: str | list[str] | None = None,
        fileNames: str | list[str] | None = None,
        nodeNames: str | list[str] | None = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileType: str | list[str] | None = None,
        loadFiles: bool | None = None,
        loadFileProperties: dict[str, Any] | None = None,
        checksums: str | list[str] | None = None,
    ) -> None:
        lists = [_as_list(item) for item in (uris, fileNames, nodeNames, checksums)]
        if len({len(item) for item in lists if item}) > 1:
            raise ValueError(f"sample data {sampleName!r}: the lists differ in length")
        if thumbnailFileName and not Path(thumbnailFileName).is_file():
            raise ValueError(f"sample data {sampleName!r}: the thumbnail {thumbnailFileName} does not exist")
        arguments = {
            "thumbnailFileName": thumbnailFileName,
            "customDownloader": customDownloader,
            "loadFileType": loadFileType,
            "loadFiles": loadFiles,
            "loadFileProperties": loadFileProperties,
        }
        sample_data.append(SampleDataSource(sampleName or "", category or "", *lists, arguments))


def _as_list(value: str | list[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
