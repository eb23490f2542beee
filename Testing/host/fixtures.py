"""Fixtures for tests on the host; they skip, with the reason, where the machine cannot host them.

A test folder uses them by ``from host.fixtures import *`` in its ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from host import requirements

__all__ = ["graphics", "scene", "slicer_app"]


@pytest.fixture
def slicer_app() -> Iterator[Any]:
    """The host's ``slicer.app`` with Qt and an empty scene; qt, ctk and slicer can be imported."""
    problem = requirements.qt_problem()
    if problem:
        pytest.skip(problem)
    requirements.choose_opengl_window()
    import host

    app = host.start()
    _empty(app)
    yield app
    _empty(app)


@pytest.fixture
def scene() -> Iterator[Any]:
    """An empty MRML scene with its logics; ``slicer.util`` works on it.  Does not need Qt."""
    problem = requirements.mrml_problem()
    if problem:
        pytest.skip(problem)
    requirements.choose_opengl_window()
    import host

    app = host.start_plain() if requirements.qt_problem() else host.start()
    _empty(app)
    yield app.mrmlScene()
    _empty(app)


@pytest.fixture
def graphics() -> None:
    """Skips where slice and 3D views cannot be drawn off screen."""
    problem = requirements.graphics_problem()
    if problem:
        pytest.skip(problem)


def _empty(app: Any) -> None:
    import host

    app.mrmlScene().Clear(False)
    app.processEvents()
    host.clear_warnings()
