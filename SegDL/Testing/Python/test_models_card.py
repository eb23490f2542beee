"""The model card: its schema, and errors that name file and field."""

from __future__ import annotations

import json

import pytest
from SegDLEngine.errors import ModelError
from SegDLEngine.inference.postprocessing import check_postprocessing
from SegDLEngine.models.card import check_card, load_card, parse_card
from SegDLEngine.models.catalogue import SHIPPED_FOLDER
from SegDLEngine.networks.registry import NETWORKS, build_empty
from SegDLEngine.preprocessing.registry import check_steps
from tiny_model import tiny_card


def test_a_good_card_gives_its_fields():
    card = check_card(tiny_card())
    assert (card.id, card.version, card.reference) == ("tiny-tumor", "1.0.0", "CT")
    assert card.input_names == ["CT"]
    assert card.weights is None


def test_every_shipped_card_is_valid_and_says_that_it_is_not_for_clinical_use():
    cards = [load_card(path) for path in SHIPPED_FOLDER.glob("*/model.json")]
    assert cards
    for card in cards:
        assert "Not for clinical use" in card.data["intended_use"]
        assert (SHIPPED_FOLDER / card.id / card.licence["file"]).is_file()


def test_the_steps_of_every_shipped_card_exist_and_its_network_fits():
    for path in SHIPPED_FOLDER.glob("*/model.json"):
        card = load_card(path)
        check_steps(card.preprocessing)
        check_postprocessing(card.postprocessing)
        network = build_empty(card.network["name"], card.network["options"], "meta")
        promised = card.inference.get("uncertainty") == "monte_carlo_dropout"
        assert not promised or network.dropout_layers


def test_the_card_of_report_001_is_the_system_of_the_report():
    card = load_card(SHIPPED_FOLDER / "lung-tumor-unet2d-report")
    network = build_empty(card.network["name"], card.network["options"], "meta")
    assert sum(parameter.numel() for parameter in network.parameters()) == 31_031_685
    steps = [entry["step"] for entry in card.preprocessing]
    assert steps == ["resample_in_plane", "crop_pad", "isolate_lungs", "harmonise"]
    assert (card.inference["threshold"], card.inference["context"]) == (0.99, [0])
    assert card.postprocessing == [{"step": "components", "minimum_slices": 2, "keep": "largest"}]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": "1"}, "version"),
        ({"id": "../evil"}, "id"),
        ({"id": "nul"}, "id"),
        ({"schema": "segdl-model-card-9"}, "schema"),
        ({"inputs": []}, "inputs"),
        ({"labels": [{**tiny_card()["labels"][0], "value": 0}]}, "labels[0].value"),
        ({"labels": [{**tiny_card()["labels"][0], "color": [1, 2, 300]}]}, "labels[0].color[2]"),
        ({"inference": {**tiny_card()["inference"], "treshold": 0.5}}, "inference"),
        ({"inference": {**tiny_card()["inference"], "threshold": "half"}}, "inference.threshold"),
        ({"preprocessing": [{"low": 1}]}, "preprocessing[0]"),
        ({"weights": {"file": "weights.pt", "sha256": "0" * 64}}, "weights.file"),
        ({"surprise": 1}, "(top level)"),
        ({"inputs": tiny_card()["inputs"] * 2}, "inputs[1].name"),
    ],
)
def test_a_wrong_field_is_named(change, field):
    with pytest.raises(ModelError) as caught:
        check_card(tiny_card(**change), "here/model.json")
    assert "here/model.json" in caught.value.text
    assert f"'{field}'" in caught.value.text
    assert caught.value.hint
    assert "\n" not in caught.value.text


def test_a_missing_field_is_named():
    card = tiny_card()
    del card["licence"]
    with pytest.raises(ModelError, match="licence"):
        check_card(card)


def test_training_and_results_are_free_form():
    check_card(tiny_card(training={"anything": [1, {"deep": None}]}, results=[{"dice": 0.5}, "text"]))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"threshold": NaN}', b"[1, 2]", b"null"]
)
def test_what_is_no_card_is_refused(content):
    with pytest.raises(ModelError):
        parse_card(content, "model.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"model\.json"):
        load_card(tmp_path)


def test_a_card_is_read_as_utf8(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps(tiny_card(title="Tumör µ"), ensure_ascii=False), "utf-8")
    assert load_card(tmp_path).title == "Tumör µ"


def test_the_shipped_lung_model_is_a_documented_variant_of_its_network():
    network = load_card(SHIPPED_FOLDER / "lung-tumor-unet2d" / "model.json").data["network"]
    assert network["options"] in [dict(options) for options in NETWORKS[network["name"]].variants]
