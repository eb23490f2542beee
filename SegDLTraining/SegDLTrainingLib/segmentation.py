"""The task of ``segdl-train fit``: find the labels of the card."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from SegDLEngine.networks.network import Network

from SegDLTrainingLib.augmentation.mixup import mixup, rows_to_mix
from SegDLTrainingLib.augmentation.registry import build_augmentation
from SegDLTrainingLib.averaging import WeightAverage
from SegDLTrainingLib.draws import Draws
from SegDLTrainingLib.live_tumours import LiveTumours
from SegDLTrainingLib.losses.registry import build_loss
from SegDLTrainingLib.sampling import build_sampler
from SegDLTrainingLib.targets import target_maps
from SegDLTrainingLib.task import Follower, Part, Setting
from SegDLTrainingLib.validation import Validation


class Segmentation:
    """Drawn and augmented slices or patches, the recipe's loss, validation by Dice."""

    def __init__(self, setting: Setting):
        recipe, card, network = setting.recipe, setting.recipe.card, setting.network
        self._seed, self._margin = recipe.seed, network.margin
        self._activation = card["inference"]["activation"]
        self._values = [label["value"] for label in card["labels"]]
        self._loss = build_loss(recipe["loss"], self._activation)
        self._augment = build_augmentation(recipe["augmentation"], network.dimensions)
        self._mixup = float(recipe["training"].get("mixup", 0.0))
        live = None
        if recipe["sampling"].get("live_share"):
            live = LiveTumours(card["preprocessing"], recipe["sampling"]["live_diameter_mm"])
        self._sampler = build_sampler(setting.training, card, recipe["sampling"], recipe.seed, live)
        self._validation = Validation(
            setting.validation, recipe, self._loss, setting.precision, setting.device, setting.processes
        )
        self.size, self.every = self._sampler.size, self._validation.every
        self.average: Follower = WeightAverage(network, recipe["training"].get("weight_average", 0.0))
        self.kept: Network = self.average.network

    def part(self, number: int, rows: Sequence[int]) -> Part:
        """Images and target maps."""
        drawn = rows_to_mix(rows, self.size) if self._mixup else rows
        images, labels = self._sampler.batch(number, drawn)
        images, labels = self._augment(images, labels, Draws(self._seed, number, drawn))
        targets = target_maps(labels, self._values, self._activation, self._margin)
        if self._mixup:
            images, targets = mixup(images, targets, self._mixup, self._seed, number, rows, self.size)
        return images, targets

    def names(self, number: int) -> list[str]:
        return self._sampler.names(number)

    def loss(self, logits: torch.Tensor, aims: Sequence[torch.Tensor], epoch: float) -> torch.Tensor:
        return self._loss(logits, aims[0], int(epoch))

    def judge(self, network: Network, epoch: int) -> dict[str, float]:
        return self._validation(network, epoch)
