"""Weights of one network, or of the folds of an ensemble, for a model whose card is here."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import ModelError
from SegDLEngine.models.card import ENSEMBLE
from SegDLEngine.models.catalogue import load_model
from SegDLEngine.models.importers.fitting import fit
from SegDLEngine.models.importers.imported import Imported
from SegDLEngine.models.importers.states import read_state

if TYPE_CHECKING:
    import torch

OURS = ".safetensors"


@dataclass(frozen=True)
class Original:
    """Public weights that users may load: a tensor by which they are known, and the card they belong to."""

    tensor: str
    card: str
    name: str
    licence: str


ORIGINALS = (
    Original(
        "down_path.0.block.0.weight",
        "lungs-r231-unet2d",
        "lungmask (Hofmanninger et al. 2020)",
        "Apache-2.0",
    ),
    Original(
        "block_1_1_left.conv1.conv.weight",
        "head-neck-tumor-se-resunet3d",
        "the HECKTOR 2020 winners (Iantsen et al. 2021)",
        "MIT",
    ),
)
# A tensor of Models Genesis, which are weights to start a training from and no model.
_GENESIS_TENSOR = "down_tr64.ops.0.conv1.weight"


def import_plain(
    files: Sequence[Path], card_id: str | None, licence_text: str | None, *, trust: bool = False
) -> Imported:
    """The card ``card_id``, or the one that the tensors tell, with the weights of ``files``.

    Several files are the folds of an ensemble.  Raises ModelError or InputError that names the file.
    """
    states = [read_state(path, trust=trust) for path in files]
    original = next((entry for entry in ORIGINALS if entry.tensor in states[0]), None)
    if card_id is None and original is None:
        raise _unknown(files[0], states[0])
    model = load_model(card_id or original.card if original else str(card_id), need_weights=False)
    name, options = model.card.network["name"], model.card.network["options"]
    fitted = [
        fit(state, name, options, path, public=path.suffix.lower() != OURS)
        for path, state in zip(files, states, strict=True)
    ]
    card = _card(model.card.data, files, original)
    return Imported(card, fitted, licence_text or _licence(original))


def _card(data: Mapping[str, Any], files: Sequence[Path], original: Original | None) -> dict[str, Any]:
    card = copy.deepcopy(dict(data))
    card.pop("weights", None)
    card["results"] = []
    card["licence"] = {
        "spdx": original.licence if original else "LicenseRef-as-received",
        "file": card["licence"]["file"],
    }
    source = f"the public weights of {original.name}" if original else "weights of the user"
    card["training"] = {
        **card.get("training", {}),
        "imported": {"source": source, "files": [path.name for path in files]},
    }
    if len(files) > 1 and card["inference"].get("uncertainty") != "monte_carlo_dropout":
        card["inference"]["uncertainty"] = ENSEMBLE
        card["inference"].pop("samples", None)
    return card


def _licence(original: Original | None) -> str:
    if original is None:
        return "Weights brought by the user; their terms are those under which the user received them.\n"
    return f"Weights of {original.name}, brought by the user; published under {original.licence}.\n"


def _unknown(path: Path, state: Mapping[str, torch.Tensor]) -> ModelError:
    if _GENESIS_TENSOR in state:
        return ModelError(
            f"{path} holds weights of Models Genesis, which are made to start a training from and segment"
            " nothing yet.",
            hint="Write them with --initial FILE.safetensors for segdl-train, or, after a training, name the"
            " model with --as.",
        )
    some = ", ".join(list(state)[:2])
    return ModelError(
        f"The weights in {path} ({some}, ...) belong to no model that SegDL recognises.",
        hint="Name the model with --as ID; segdl models list shows all.",
    )
