"""How good the network is on the validation cases, after each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.inference.postprocessing import label_map
from SegDLEngine.inference.predict import predict
from SegDLEngine.inference.runtime import choose_runtime
from SegDLEngine.networks.network import Network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.losses.dice import soft_dice
from SegDLTrainingLib.losses.registry import Loss
from SegDLTrainingLib.precision import Precision
from SegDLTrainingLib.processes import Processes
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.sampling import build_sampler, validation_settings
from SegDLTrainingLib.targets import probabilities, target_maps
from SegDLTrainingLib.volumes import PreparedVolume

Row = dict[str, float]


class Validation:
    """Judges a network as ``training.validation`` says.

    ``mode`` "batches" (default): as many ``batches`` as are given, drawn like those of the training, give
    the loss, the soft Dice and the Dice of each label, pooled over all voxels.  "volumes": the engine
    segments the whole cases, ``every`` so many epochs; Dice of each label, mean of the cases.  The mean over
    the labels is "validation_dice".
    """

    def __init__(
        self,
        volumes: Sequence[PreparedVolume],
        recipe: Recipe,
        loss: Loss,
        precision: Precision,
        device: str,
        processes: Processes,
    ):
        settings = recipe.validation
        if settings["mode"] not in ("batches", "volumes"):
            raise InputError(
                f"The recipe's validation mode '{settings['mode']}' is neither batches nor volumes."
            )
        self.every = int(settings.get("every", 1))
        self._volumes = volumes
        self._card = recipe.card
        self._activation = recipe.card["inference"]["activation"]
        self._labels = recipe.card["labels"]
        self._values = [label["value"] for label in self._labels]
        self._loss, self._precision, self._device, self._processes = loss, precision, device, processes
        if volumes and settings["mode"] == "batches":
            sampling = validation_settings(recipe["sampling"])
            self._sampler = build_sampler(volumes, recipe.card, sampling, recipe.seed + 1)
            self._numbers = range(processes.rank, int(settings["batches"]), processes.count)
        self._whole = settings["mode"] == "volumes"

    def __call__(self, network: Network, epoch: int) -> Row:
        """The columns that this epoch's row gets; none if there is nothing to judge by."""
        if not self._volumes:
            return {}
        sums = self._sums_of_volumes(network) if self._whole else self._sums_of_batches(network, epoch)
        keys = sorted(sums)
        whole = self._processes.sum([sums[key] for key in keys], self._device)
        return self._row(dict(zip(keys, whole, strict=True)))

    @torch.no_grad()
    def _sums_of_batches(self, network: Network, epoch: int) -> Row:
        sums = dict.fromkeys(["loss", "soft", "count"], 0.0)
        for value in self._values:
            sums[f"overlap {value}"] = sums[f"size {value}"] = 0.0
        # Drawn anew in every epoch, always the same ones: together they may be larger than the memory.
        for number in self._numbers:
            images, labels = self._sampler.batch(number)
            target = target_maps(labels, self._values, self._activation, network.margin)
            with self._precision.autocast():
                logits = network(images.to(self._device)).float().cpu()
            predicted = probabilities(logits, self._activation)
            sums["loss"] += float(self._loss(logits, target, epoch))
            sums["count"] += 1
            if self._activation == "softmax":
                found = torch.nn.functional.one_hot(predicted.argmax(dim=1), predicted.shape[1])
                found = found.movedim(-1, 1)[:, 1:]
                predicted, target = predicted[:, 1:], target[:, 1:]
            else:
                found = predicted >= 0.5
            sums["soft"] += float(soft_dice(predicted, target))
            for layer, value in enumerate(self._values):
                mine, theirs = found[:, layer], target[:, layer]
                sums[f"overlap {value}"] += 2 * float((mine * theirs).sum())
                sums[f"size {value}"] += float(mine.sum() + theirs.sum())
        return sums

    def _sums_of_volumes(self, network: Network) -> Row:
        sums = {f"{kind} {value}": 0.0 for value in self._values for kind in ("dice", "count")}
        for volume in self._volumes[self._processes.rank :: self._processes.count]:
            for value, dice in volume_dice(network, volume, self._card, self._device).items():
                sums[f"dice {value}"] += dice
                sums[f"count {value}"] += 1
        return sums

    def _row(self, sums: Row) -> Row:
        row: Row = {}
        dices = []
        for label in self._labels:
            value = label["value"]
            if self._whole:
                if not sums[f"count {value}"]:
                    continue
                dices.append(sums[f"dice {value}"] / sums[f"count {value}"])
            else:
                dices.append((sums[f"overlap {value}"] + 1) / (sums[f"size {value}"] + 1))
            row[f"dice {label['name']}"] = dices[-1]
        if not self._whole:
            row["validation_loss"] = sums["loss"] / sums["count"]
            row["validation_soft_dice"] = sums["soft"] / sums["count"]
        return {"validation_dice": float(np.mean(dices)) if dices else 0.0, **row}


def volume_dice(
    network: Network, volume: PreparedVolume, card: Mapping[str, Any], device: str
) -> dict[int, float]:
    """Dice of each label that the case has or that is found in it, after the engine's own inference."""
    settings = card["inference"]
    values = [label["value"] for label in card["labels"]]
    channels = np.asarray(volume.image, dtype=np.float32)
    found = predict(network, channels, settings, choose_runtime(device, "auto"), Reporter())
    labels = label_map(found.probability, values, settings["threshold"], settings["activation"])
    dices = {}
    for value in values:
        mine, theirs = labels == value, np.asarray(volume.labels) == value
        size = int(mine.sum()) + int(theirs.sum())
        if size:
            dices[value] = 2 * float((mine & theirs).sum()) / size
    return dices
