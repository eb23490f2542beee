"""The list of models and the card of one, as people read them."""

from __future__ import annotations

import json

import pytest
from SegDLEngine.command_line.main import main
from SegDLEngine.command_line.model_texts import ways_to_weights
from tiny_model import write_tiny_package


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "80")


def test_list_tells_which_models_have_weights(capsys):
    assert main(["models", "list", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["lung-tumor-unet2d"]["installed"] is True
    assert rows["head-neck-tumor-se-resunet3d"]["installed"] is False
    assert rows["head-neck-tumor-se-resunet3d"]["inputs"] == ["CT", "PET"]
    assert main(["models", "list"]) == 0
    table, _, note = capsys.readouterr().out.partition("\n\n")
    lines = {line.split()[0]: line for line in table.splitlines()}
    assert lines["lung-tumor-unet2d"].endswith("installed")
    assert lines["head-neck-tumor-se-resunet3d"].endswith("to be added")
    missing = sum(not row["installed"] for row in rows.values())
    assert note.startswith(f"{missing} of {len(rows)} have no weights; segdl models show ID")


def test_show_tells_how_a_model_gets_its_weights(capsys):
    name = "brain-tumor-multiscale-cnn3d"
    assert main(["models", "show", name]) == 0
    text = capsys.readouterr().out
    assert "FLAIR (MR): T2-weighted" in text
    assert "spread over mirror images" in text
    assert "segdl models install PACKAGE" in text
    assert f"segdl models import FILE --as {name}" in text
    assert "segdl-train fit --recipe" in text
    assert max(map(len, text.splitlines()[:-1])) <= 80


def test_show_of_an_installed_model_names_its_weights(tmp_path, capsys):
    package = write_tiny_package(tmp_path / "tiny")
    assert main(["models", "show", str(package)]) == 0
    text = capsys.readouterr().out
    assert json.loads((package / "model.json").read_text())["weights"]["sha256"] in text
    assert "not installed" not in text
    assert "Monte Carlo dropout" in text and "CT (CT, HU)" in text


def test_a_card_can_name_the_recipe_of_its_training():
    assert "segdl-train fit --recipe lungs-2 " in ways_to_weights("lungs", {"recipe": "lungs-2"})
    assert "see segdl-train recipes" in ways_to_weights("lungs", {})


def test_segmenting_without_weights_says_what_to_do(tmp_path, capsys):
    job = ["segment", "--model", "hand-bone-multiscale-cnn3d", "--input", "MR=a.nrrd"]
    assert main([*job, "--output", str(tmp_path / "a.seg.nrrd")]) == 2
    text = capsys.readouterr().err
    assert "not installed" in text and "segdl models show hand-bone-multiscale-cnn3d" in text
