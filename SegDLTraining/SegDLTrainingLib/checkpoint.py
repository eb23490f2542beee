"""Checkpoints: everything that a training needs to go on exactly where it was, in one safetensors file.

Tensors are network, averaged weights and optimiser; all else is JSON in the file's header.  Random numbers
need no state: they follow from the seed and the number of the step.  A file is written beside its place,
flushed to the disk and moved there, so that at any moment either the old or the new one is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from SegDLEngine.errors import InputError, SegDLError

from SegDLTrainingLib.identity import Identity
from SegDLTrainingLib.places import CHECKPOINT_FILE

HEADER = "segdl-checkpoint-2"

Tensors = dict[str, torch.Tensor]


@dataclass
class Position:
    """Where a training is: ``epoch`` and ``step`` of a ``phase`` are to be done next.

    ``number`` counts all steps, ``total`` sums this epoch's losses; ``history`` has a row for each epoch,
    ``kept`` is the row of the weights in ``kept_file``.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    number: int = 0
    total: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    kept_file: str = ""


def write_file(path: Path, content: bytes) -> None:
    """Write atomically; raises SegDLError that names the file when the disk refuses, the old one stays."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
        _flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise SegDLError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Free space there and start again: the training goes on from its last checkpoint.",
            code="disk",
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> None:
    """Write tensors and header as safetensors, atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_file(path, save(plain, dict(header)))


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors and header of a safetensors file; raises InputError when it cannot be read."""
    try:
        with safe_open(path, framework="pt") as stream:
            header = stream.metadata() or {}
            return {name: stream.get_tensor(name) for name in stream.keys()}, header  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read: {error}.", hint="Delete the folder of this training to start anew."
        ) from error


def save_checkpoint(
    folder: Path,
    identity: Identity,
    position: Position,
    modules: Mapping[str, torch.nn.Module],
    optimiser: torch.optim.Optimizer,
    extra: Mapping[str, Any],
) -> None:
    """Write the state of ``modules`` (by name) and ``optimiser`` of the training that ``identity`` names."""
    tensors = {
        f"{name}.{key}": tensor
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
    state = optimiser.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser.{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = value
    facts = {
        "identity": identity.facts(),
        "position": asdict(position),
        "groups": state["param_groups"],
        "numbers": numbers,
        "extra": dict(extra),
    }
    write_tensors(folder / CHECKPOINT_FILE, tensors, {HEADER: json.dumps(facts)})


def load_checkpoint(folder: Path, identity: Identity) -> Checkpoint | None:
    """The checkpoint of ``folder``, None if there is none; raises InputError for one of another training."""
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    tensors, header = read_tensors(path)
    if HEADER not in header:
        raise InputError(
            f"{path} is of an earlier version, which did not note what the cases contained.",
            hint="Begin anew with another --output, or delete this folder.",
        )
    facts = json.loads(header[HEADER])
    identity.check(facts["identity"], path)
    return Checkpoint(tensors, facts)


@dataclass(frozen=True)
class Checkpoint:
    """What was read: tensors by name and the facts of the header."""

    tensors: Tensors
    facts: dict[str, Any]

    @property
    def position(self) -> Position:
        return Position(**self.facts["position"])

    @property
    def extra(self) -> dict[str, Any]:
        return self.facts["extra"]

    def module(self, name: str) -> Tensors:
        """The state of a module."""
        start = f"{name}."
        return {key[len(start) :]: value for key, value in self.tensors.items() if key.startswith(start)}

    def optimiser(self) -> dict[str, Any]:
        """The state of the optimiser, as its ``load_state_dict`` takes it."""
        state: dict[int, dict[str, Any]] = {}
        for key, value in self.module("optimiser").items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        for index, values in self.facts["numbers"].items():
            state.setdefault(int(index), {}).update(values)
        return {"state": state, "param_groups": self.facts["groups"]}


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a loss of power; Windows cannot open folders and needs no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
