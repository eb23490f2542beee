"""Packages: packing, installing, verifying and removing, and hostile packages of every kind."""

from __future__ import annotations

import json
import os
import stat
import zipfile

import pytest
from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.models import package
from SegDLEngine.models.catalogue import list_models, load_model
from tiny_model import tiny_card, write_tiny_package


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    monkeypatch.setenv("SEGDL_MODELS", str(folder))
    return folder


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_package(tmp_path / "source")


def edit_card(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def zip_of(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def contents(folder):
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def test_a_folder_installs_lists_builds_and_goes_again(models_folder, tiny):
    installed = package.install(tiny)
    assert installed == models_folder / "tiny-tumor"
    assert "tiny-tumor" in [model.id for model in list_models() if model.installed]
    assert not load_model("tiny-tumor").build().training
    package.remove("tiny-tumor")
    assert list(models_folder.iterdir()) == []
    with pytest.raises(ModelError, match="no model 'tiny-tumor'"):
        load_model("tiny-tumor")


def test_a_packed_zip_installs_and_is_the_same_each_time(models_folder, tiny, tmp_path):
    first = package.pack(tiny, tmp_path / "a.zip")
    second = package.pack(tiny, tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    package.install(first)
    assert (models_folder / "tiny-tumor" / "weights.safetensors").read_bytes() == (
        tiny / "weights.safetensors"
    ).read_bytes()


def test_a_zip_of_one_folder_installs(models_folder, tiny, tmp_path):
    archive = zip_of(tmp_path / "a.zip", [(f"tiny/{name}", data) for name, data in contents(tiny)])
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("__MACOSX/tiny/._model.json", b"x")
    assert package.install(archive).is_dir()


def test_a_zip_is_a_model_without_installing(tiny, tmp_path):
    model = load_model(package.pack(tiny, tmp_path / "a.zip"))
    assert model.id == "tiny-tumor"
    assert sum(parameter.numel() for parameter in model.build().parameters()) > 0


def test_half_precision_weights_become_float32(tmp_path):
    import torch

    network = load_model(write_tiny_package(tmp_path / "half", half=True)).build()
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_another_version_is_replaced_only_when_asked(models_folder, tiny, tmp_path):
    package.install(tiny)
    package.install(tiny)
    newer = write_tiny_package(tmp_path / "newer", bias=1.0, version="1.1.0")
    with pytest.raises(ModelError, match=r"1\.0\.0.*1\.1\.0"):
        package.install(newer)
    assert load_model("tiny-tumor").card.version == "1.0.0"
    package.install(newer, replace=True)
    assert load_model("tiny-tumor").card.version == "1.1.0"
    assert [path.name for path in models_folder.iterdir()] == ["tiny-tumor"]


@pytest.mark.parametrize(
    "name",
    [
        "../model.json",
        "a/../../model.json",
        "/model.json",
        "..\\model.json",
        "a/b/model.json",
        "run.py",
        "x.pkl",
    ],
)
def test_an_entry_that_does_not_belong_is_refused(models_folder, tiny, tmp_path, name):
    archive = zip_of(tmp_path / "evil.zip", [*contents(tiny), (name, b"evil")])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelError, match=r"evil\.zip is broken"):
        package.install(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_links_are_refused(models_folder, tiny, tmp_path):
    link = zipfile.ZipInfo("LICENSE-link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zip_of(tmp_path / "link.zip", [*contents(tiny), (link, "/etc/passwd")])
    with pytest.raises(ModelError, match="LICENSE-link"):
        package.install(archive)
    os.symlink("/etc/passwd", tiny / "README.md")
    with pytest.raises(ModelError, match=r"README\.md"):
        package.install(tiny)
    assert not models_folder.exists() or list(models_folder.iterdir()) == []


def test_a_file_beyond_its_limit_is_refused_whatever_the_zip_directory_says(
    models_folder, tiny, tmp_path, monkeypatch
):
    monkeypatch.setitem(package._SIZE_LIMITS, "README.md", 1000)
    archive = zip_of(tmp_path / "big.zip", [*contents(tiny), ("README.md", b"x" * 1001)])
    with pytest.raises(ModelError, match=r"README\.md.*larger"):
        package.install(archive)
    assert list(models_folder.iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "no zip"])
def test_damaged_packages_are_refused_and_leave_nothing(models_folder, tiny, tmp_path, damage):
    weights = tiny / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    source = tiny
    if damage == "flip":
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "truncate":
        source = package.pack(tiny, tmp_path / "a.zip")
        source.write_bytes(source.read_bytes()[:-200])
    elif damage == "remove":
        weights.unlink()
    else:
        source = tmp_path / "a.zip"
        source.write_bytes(b"not a zip")
    with pytest.raises(ModelError) as caught:
        package.install(source)
    assert "\n" not in str(caught.value)
    assert not models_folder.exists() or list(models_folder.iterdir()) == []


def test_weights_that_do_not_fit_the_network_are_named(models_folder, tiny):
    edit_card(tiny, network={"name": "lung_unet2d", "options": {"filters": 3, "depth": 3}})
    with pytest.raises(ModelError, match="has shape"):
        package.verify(tiny)
    edit_card(tiny, network={"name": "lung_unet2d", "options": {"filters": 1 << 14, "depth": 3}})
    with pytest.raises(ModelError, match="has shape"):
        package.verify(tiny)
    edit_card(tiny, network={"name": "no_such_net", "options": {}})
    with pytest.raises(ModelError, match="no_such_net"):
        package.verify(tiny)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    folder = write_tiny_package(tmp_path / "nan", bias=float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        package.verify(folder)


def test_a_pickle_under_the_name_of_the_weights_is_refused(tiny):
    import hashlib
    import pickle

    content = pickle.dumps({"weight": 1})
    (tiny / "weights.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_card(tiny, weights={"file": "weights.safetensors", "sha256": digest})
    with pytest.raises(ModelError, match="safetensors"):
        package.verify(tiny)


def test_verify_says_what_it_found(tiny):
    found = package.verify(tiny)
    assert found["id"] == "tiny-tumor"
    assert found["sha256"] == package.sha256_of(tiny / "weights.safetensors")
    assert found["parameters"] == sum(p.numel() for p in load_model(tiny).build().parameters())


def test_a_card_without_weights_is_listed_and_says_so(models_folder):
    folder = models_folder / "tiny-tumor"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(tiny_card()))
    assert not load_model("tiny-tumor", need_weights=False).installed
    with pytest.raises(ModelError, match="weights of model 'tiny-tumor' are not installed"):
        load_model("tiny-tumor")


def test_one_broken_package_does_not_hide_the_others(models_folder, tiny):
    package.install(tiny)
    (models_folder / "broken").mkdir()
    (models_folder / "broken" / "model.json").write_text("{")
    told = []
    assert "tiny-tumor" in [model.id for model in list_models(lambda folder, error: told.append(folder.name))]
    assert told == ["broken"]
    with pytest.raises(ModelError, match="broken"):
        load_model("broken")


def test_shipped_models_and_other_paths_cannot_be_removed(models_folder, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "model.json").write_text("{}")
    for name in ("lung-tumor-unet2d-report", "../precious", str(tmp_path / "precious"), ""):
        with pytest.raises(ModelError, match="not among the installed"):
            package.remove(name)
    assert (tmp_path / "precious" / "model.json").exists()


def test_an_installed_package_hides_the_shipped_card_of_its_id(models_folder, tmp_path):
    name = "lung-tumor-unet2d-report"
    package.install(write_tiny_package(tmp_path / "own", id=name))
    assert load_model(name).folder == models_folder / name
    package.remove(name)
    assert load_model(name, need_weights=False).shipped


def test_a_models_folder_that_cannot_be_written_is_named(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(InputError, match="SEGDL_MODELS"):
        package.install(tiny)
