"""What a training starts from: a model, or a file of weights that ``segdl models import --initial`` wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from SegDLEngine.errors import InputError
from SegDLEngine.models.catalogue import Model, load_model
from SegDLEngine.networks.network import Network

EXTENSION = ".safetensors"


@dataclass(frozen=True)
class Start:
    """Weights by tensor name, with what the finished package says of them.

    ``network`` is that of the model's card; None for a file, which says nothing but names and shapes.
    """

    name: str
    state: Mapping[str, torch.Tensor]
    network: Mapping[str, Any] | None
    sha256: str
    training: Mapping[str, Any]

    @property
    def origin(self) -> dict[str, str]:
        """What a training's identity says of its start."""
        return {"starting_weights": self.sha256}

    @classmethod
    def of(cls, source: str | Path | Model) -> Start:
        """From a model, its id or package, or a file ``.safetensors``.

        Raises ModelError, and InputError also for an ensemble, of which none is the network to start from.
        """
        if isinstance(source, (str, Path)) and Path(source).suffix.lower() == EXTENSION:
            return cls._of_file(Path(source))
        model = load_model(source)
        training = model.card.data.get("training", {})
        state = single_network(model).state_dict()
        return cls(model.id, state, model.card.network, model.sha256, training)

    @classmethod
    def _of_file(cls, path: Path) -> Start:
        try:
            content = path.read_bytes()
            state = load(content)
        except OSError as error:
            raise InputError(
                f"The weights {path} cannot be read: {error.strerror}.", hint="Check the path."
            ) from error
        except (SafetensorError, ValueError, KeyError) as error:
            raise InputError(
                f"The weights {path} are no sound safetensors file ({error}).",
                hint="Write them with segdl models import FILE --initial.",
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        return cls(path.name, state, None, digest, {"imported": {"files": [path.name]}})


def single_network(model: Model) -> Network:
    """The network of a model; raises InputError for an ensemble."""
    files = model.card.weight_files
    if len(files) > 1:
        raise InputError(
            f"The model '{model.id}' is an ensemble of {len(files)} networks where one is wanted.",
            hint=f"Name one of them: {model.folder / files[0]['file']}, or the package of one fold.",
        )
    return model.build()


def weights_like(
    source: str | Path, reference: Mapping[str, torch.Tensor], hint: str
) -> Mapping[str, torch.Tensor]:
    """Weights of a model, package or file; raises InputError if names or shapes are not ``reference``'s."""
    state = Start.of(source).state
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in (state, reference)]
    if shapes[0] != shapes[1]:
        raise InputError(f"The weights {source} are not those of the card's network.", hint=hint)
    return state
