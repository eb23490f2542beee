"""Makes the fixtures of the host known to the tests of this folder, and those that its files share."""

import pytest
from host.fixtures import *  # noqa: F403
from panel_fixtures import *  # noqa: F403
from threads import *  # noqa: F403


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a package 'tiny' and an image 'ct.nrrd'."""
    pytest.importorskip("torch")
    from tiny_case import write_tiny_ct
    from tiny_model import write_tiny_package

    folder = tmp_path_factory.mktemp("files")
    write_tiny_package(folder / "tiny")
    write_tiny_ct(folder / "ct.nrrd")
    return folder


@pytest.fixture
def own_models_folder(tmp_path, monkeypatch):
    """No models but the shipped ones; what a test installs stays in its own folder."""
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "models"))
