"""The shipped cards: each fits its network, its steps and the standard's codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from SegDLEngine.inference.postprocessing import check_postprocessing
from SegDLEngine.inference.predict import DIMENSIONS
from SegDLEngine.models.card import CARD_FILE, load_card
from SegDLEngine.models.catalogue import SHIPPED_FOLDER, list_models, load_model
from SegDLEngine.networks.registry import build_empty
from SegDLEngine.preprocessing.registry import check_steps

CARDS = sorted(path.parent.name for path in SHIPPED_FOLDER.glob(f"*/{CARD_FILE}"))
RECIPES = Path(__file__).resolve().parents[3] / "SegDLTraining" / "Resources" / "Recipes"
SYSTEMS = {
    "head-neck-tumor-se-resunet3d": ("se_resunet3d", 21_751_681),
    "head-neck-tumor-rrse-unet3d": ("rrse_unet3d", 10_872_017),
    "head-neck-tumor-baseline-unet3d": ("baseline_unet3d", 3_611_665),
    "brain-tumor-multiscale-cnn3d": ("multiscale_cnn3d", 410_072),
    "brain-tumor-input-cascade": ("input_cascade_cnn", 1_921_034),
    "brain-tumor-unet2d": ("unet2d", 31_032_581),
    "brain-tumor-unet3d-69k": ("unet3d_69k", 68_891),
    "hand-bone-multiscale-cnn3d": ("multiscale_cnn3d", 409_424),
    "brain-tumor-res-unet2d": ("res_unet2d", 6_854_609),
}
# Meanings that 3D Slicer's terminology gives codes to which DICOM now gives other words.
SLICER_MEANINGS = {
    "49755003": "Morphologically Altered Structure",
    "123037004": "Anatomical Structure",
    "86049000": "Neoplasm, Primary",
}


def card(name):
    return load_card(SHIPPED_FOLDER / name)


def network_of(name):
    found = card(name).network
    return build_empty(found["name"], found["options"], "meta").eval()


def test_every_system_of_the_reports_has_its_card():
    for name, (network, parameters) in SYSTEMS.items():
        assert card(name).network["name"] == network
        assert sum(parameter.numel() for parameter in network_of(name).parameters()) == parameters
    assert {model.id for model in list_models()} >= set(CARDS)


@pytest.mark.parametrize("name", CARDS)
def test_card_names_itself_its_licence_and_its_limits(name):
    found = card(name)
    assert found.id == name
    assert (SHIPPED_FOLDER / name / found.licence["file"]).stat().st_size > 1000
    assert "Not for clinical use" in found.data["intended_use"]
    assert len(found.title) <= 80 and found.data["description"]
    if not load_model(name, need_weights=False).installed:
        assert found.data.get("results", []) == [], "results of weights that nobody has"
        assert "without weights" in found.data["description"]


@pytest.mark.parametrize("name", CARDS)
def test_a_recipe_that_a_card_names_trains_this_model(name):
    recipe = (card(name).data.get("training") or {}).get("recipe")
    assert isinstance(recipe, str) or name not in SYSTEMS
    if isinstance(recipe, str):
        path = RECIPES / f"{recipe}.json"
        trained = json.loads(path.read_text(encoding="utf-8"))["card"]
        assert name in (trained.get("from"), trained.get("id"))


@pytest.mark.parametrize("name", CARDS)
def test_steps_and_settings_exist(name):
    found = card(name)
    check_steps(found.preprocessing)
    check_postprocessing(found.postprocessing)
    made = {entry.get("name", "lungs") for entry in found.preprocessing if "mask" not in entry}
    used = {entry["mask"] for entry in [*found.preprocessing, *found.postprocessing] if "mask" in entry}
    assert used <= made
    named = {other for entry in found.preprocessing for other in entry.get("inputs", [])}
    assert named <= set(found.input_names)


@pytest.mark.parametrize("name", CARDS)
def test_channels_classes_and_window_suit_the_network(name):
    found, network = card(name), network_of(name)
    inference = found.inference
    assert network.dimensions == DIMENSIONS[inference["mode"]]
    channels = len(found.inputs) * len(inference.get("context", [0]))
    sides = list(reversed(inference["patch"])) if network.dimensions == 3 else network.report_input[1:]
    assert all(side % network.divisible_by == network.remainder for side in sides)
    with torch.device("meta"):
        logits = network(torch.empty(1, channels, *sides))
    assert logits.shape[1] == len(found.labels) + (inference["activation"] == "softmax")


@pytest.mark.parametrize("name", CARDS)
def test_uncertainty_is_what_the_network_can_give(name):
    found, network = card(name), network_of(name)
    dropout = any(network.get_submodule(layer).p > 0 for layer in network.dropout_layers)
    offered = found.inference.get("uncertainty", "none")
    assert offered in (["monte_carlo_dropout"] if dropout else ["flip_tta", "ensemble", "none"])
    assert name not in SYSTEMS or (offered != "none" and found.inference["samples"] > 0)


@pytest.mark.parametrize("name", CARDS)
def test_labels_have_different_colours_and_codes_of_the_standard(name):
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts
    meanings: dict[tuple[str, str], set[str]] = {}
    for scheme in ("SCT", "NCIt"):
        for entries in concepts[scheme].values():
            for code, (meaning, _) in entries.items():
                meanings.setdefault((scheme, code), set()).add(meaning)
    labels = card(name).labels
    assert len({tuple(label["color"]) for label in labels}) == len(labels)
    for label in labels:
        for code in label["terminology"].values():
            found = (code["scheme"], code["code"])
            known = {SLICER_MEANINGS.get(code["code"])} | meanings.get(found, set())
            # DICOM names some diseases only by the newest codes, which the dictionary may lack.
            assert code["meaning"] in known or (found not in meanings and name not in SYSTEMS)
