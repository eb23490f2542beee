"""MONAI bundles as SegDL models: configuration, steps, network, and the same labels as MONAI gives."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from bundles import TRANSFORMS, UNET, inference_of, metadata_of, refusal, write_bundle
from SegDLEngine.command_line.main import main
from SegDLEngine.errors import ModelError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.importers.monai_config import UNKNOWN, Configuration
from SegDLEngine.models.importers.monai_transforms import plan_of
from SegDLEngine.networks.foreign import ForeignNetwork
from SegDLEngine.pipeline import segment

SPLEEN = ["background", "spleen"]


pytestmark = pytest.mark.usefixtures("own_models_folder")


def test_references_are_followed_and_expressions_are_not():
    data = {"size": [1, 2], "a": {"b": ["@size", "$print(1)"]}, "c": "@a#b::0", "loop": "@loop", "lost": "@x"}
    configuration = Configuration(data, "inference.json")
    assert configuration.value("nothing", "c") == [1, 2]
    assert configuration.value("a") == {"b": [[1, 2], UNKNOWN]}
    for name, told in (("loop", "in circles"), ("lost", "'@x' leads nowhere")):
        with pytest.raises(ModelError, match=told):
            configuration.value(name)


def test_transforms_become_steps():
    plan = plan_of(TRANSFORMS, "inference.json")
    assert plan.axes == ("-i", "-j", "k")
    assert plan.steps == [
        {"step": "canonical", "spacing": [1.0, 1.5, 2.0]},
        {"step": "clip", "low": -57.0, "high": 164.0},
        {"step": "scale", "offset": 57.0, "factor": 1 / 221},
    ]
    brats = plan_of([{"_target_": "NormalizeIntensityd", "nonzero": True, "channel_wise": True}], "x")
    assert [step["step"] for step in brats.steps] == ["foreground_mask", "zscore"]
    assert plan_of([{"_target_": "Orientationd", "axcodes": "PLS"}], "x").axes == ("j", "i", "k")
    spacing = [{"_target_": "Orientationd", "axcodes": "SAR"}, {"_target_": "Spacingd", "pixdim": [3, 2, 1]}]
    assert plan_of(spacing, "x").steps == [{"step": "canonical", "spacing": [1.0, 2.0, 3.0]}]
    for entry, told in (
        ({"_target_": "RandRotated"}, "RandRotated"),
        ({"_target_": "Spacingd", "pixdim": "$[1, 1, 1]"}, "Python expression"),
        ({"_target_": "Orientationd", "axcodes": "XYZ"}, "axcodes"),
    ):
        with pytest.raises(ModelError, match=told):
            plan_of([Configuration({}, "x").resolved(entry)], "x")


class Recorder(torch.nn.Module):
    """Two outputs: what came in, and less of it."""

    def forward(self, images):
        self.seen = images
        return torch.cat([images, images - 2], dim=1)


def test_the_frame_turns_pads_and_hides():
    inner = Recorder()
    network = ForeignNetwork(inner, 1, [4, 6, 8], ["-i", "-j", "k"], [4, 4, 4], draw_order=[0, 1])
    image = torch.randn(1, 1, 5, 6, 7) * 2
    logits = network(image)
    assert inner.seen.shape == (1, 1, 8, 8, 8)
    assert inner.seen[0, 0, 0, 0, 4] == image[0, 0, 4, -1, -1]
    torch.testing.assert_close(logits[:, 1:], image - 2)
    hidden = image > 2
    torch.testing.assert_close(logits[:, :1][~hidden], image[~hidden])
    assert (logits[:, :1][hidden] < 0).all()
    with pytest.raises(TypeError, match="axes"):
        ForeignNetwork(inner, 1, [4, 6, 8], ["i", "i", "k"], [4, 4, 4])


def test_a_bundle_without_weights_or_configuration_is_refused(tmp_path, capsys):
    folder = write_bundle(tmp_path / "spleen", inference_of(TRANSFORMS), metadata_of(SPLEEN))
    assert "has none of models/model.pt" in refusal(capsys, folder)
    torch.save({"a": torch.zeros(1)}, folder / "models" / "model.pt")
    scripted = inference_of(TRANSFORMS, network={"_target_": "$scripts.network"})
    (folder / "configs" / "inference.json").write_text(json.dumps(scripted))
    assert "Python expressions" in refusal(capsys, folder)
    (folder / "configs" / "inference.json").unlink()
    assert "no configs/inference.json" in refusal(capsys, folder)
    assert not list(tmp_path.glob("models/*"))


def test_the_package_that_is_missing_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.networks", None)
    folder = write_bundle(tmp_path / "spleen", inference_of(TRANSFORMS), metadata_of(SPLEEN))
    torch.save({"a": torch.zeros(1)}, folder / "models" / "model.pt")
    assert "pip install monai" in refusal(capsys, folder)


def test_a_torchscript_bundle_runs_only_where_it_is_trusted(tmp_path, capsys, monkeypatch):
    """Whatever is brighter than 0.5 is spleen."""

    class Bright(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.zeros_like(images), (images - 0.5) * 20], dim=1)

    scripted = inference_of(TRANSFORMS, network={"_target_": "$scripts.network"})
    folder = write_bundle(tmp_path / "spleen", scripted, metadata_of(SPLEEN))
    torch.jit.save(torch.jit.script(Bright()), folder / "models" / "model.ts")
    assert "--trust" in refusal(capsys, folder)
    assert not (tmp_path / "models").exists()
    assert main(["models", "import", str(folder), "--trust"]) == 0
    array = np.full((6, 10, 12), -100, np.int16)
    array[2:4, 3:7, 4:9] = 150
    case = {"CT": Image(array, Grid((12, 10, 6), (1.0, 1.5, 2.0)))}
    model = load_model("spleen-ct-segmentation")
    assert (segment(case, model).labels.array == (array > 0)).all()

    copied = shutil.copytree(model.folder, tmp_path / "copied")
    monkeypatch.setenv("SEGDL_MODELS", str(tmp_path / "elsewhere"))
    with pytest.raises(ModelError, match="is a program"):
        segment(case, copied)
    capsys.readouterr()
    assert main(["models", "install", str(copied)]) == 2
    assert "--trust" in capsys.readouterr().err
    assert main(["models", "install", str(copied), "--trust"]) == 0
    assert (segment(case, "spleen-ct-segmentation").labels.array == (array > 0)).all()


@pytest.fixture
def spleen(tmp_path):
    """A bundle with random weights and its network."""
    nets = pytest.importorskip("monai.networks.nets", reason="the package monai is not installed")
    torch.manual_seed(4)
    network = nets.UNet(**{key: value for key, value in UNET.items() if key != "_target_"}).eval()
    folder = write_bundle(tmp_path / "spleen", inference_of(TRANSFORMS), metadata_of(SPLEEN))
    torch.save({"model": network.state_dict()}, folder / "models" / "model.pt")
    return folder, network


def test_a_bundle_gives_the_labels_that_monai_gives(spleen, tmp_path):
    from monai.inferers import sliding_window_inference

    _, network = spleen
    archive = shutil.make_archive(str(tmp_path / "spleen"), "zip", tmp_path, "spleen")
    assert main(["models", "import", archive]) == 0
    model = load_model("spleen-ct-segmentation")
    card = model.card.data
    assert (card["version"], card["licence"]["file"]) == ("0.5.9", "LICENSE.txt")
    assert [label["name"] for label in card["labels"]] == ["Spleen"]
    assert (model.folder / "LICENSE.txt").read_text() == "Apache License 2.0\n"

    generator = np.random.default_rng(2)
    array = generator.normal(50, 60, (16, 12, 8)).astype(np.float32)
    grid = Grid((8, 12, 16), (1.0, 1.5, 2.0), (3.0, 4.5, 6.0))
    found = segment({"CT": Image(array, grid)}, model).labels.array

    tensor = torch.from_numpy(np.clip((array + 57) / 221, 0, 1)).permute(2, 1, 0).flip((0, 1))[None, None]
    with torch.inference_mode():
        logits = sliding_window_inference(tensor, (8, 12, 16), 4, network, overlap=0.5)
    expected = logits.argmax(dim=1)[0].flip((0, 1)).permute(2, 1, 0).numpy()
    assert 0.05 < expected.mean() < 0.95
    assert (found == expected).mean() > 0.99


def test_overlapping_outputs_are_drawn_from_the_whole_to_the_part(spleen, tmp_path):
    from monai.networks.nets import UNet

    names = ["Tumor core", "Whole tumor", "Enhancing tumor"]
    options = {**UNET, "in_channels": 4, "out_channels": 3}
    sigmoid = {"transforms": [{"_target_": "Activationsd", "sigmoid": True}]}
    inference = inference_of(
        [{"_target_": "NormalizeIntensityd", "nonzero": True}], options, postprocessing=sigmoid
    )
    metadata = metadata_of(names, ("T1c", "T1", "T2", "FLAIR"), "MR")
    folder = write_bundle(tmp_path / "brats", inference, metadata)
    network = UNet(**{key: value for key, value in options.items() if key != "_target_"})
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    assert main(["models", "import", str(folder), "--as", "brats-bundle"]) == 0
    card = load_model("brats-bundle").card
    assert card.input_names == ["T1c", "T1", "T2", "FLAIR"]
    assert card.network["options"]["draw_order"] == [1, 0, 2]
    assert [entry["step"] for entry in card.preprocessing[:2]] == ["to_reference", "patient_order"]
    assert card.inference["activation"] == "sigmoid"


def test_weights_of_another_network_are_told(spleen, capsys):
    folder, network = spleen
    state = network.state_dict()
    name = next(iter(state))
    torch.save({**state, name: torch.zeros(3)}, folder / "models" / "model.pt")
    line = refusal(capsys, folder)
    assert "model.pt" in line and f"inner.{name}" in line and "has shape (3,)" in line
