"""The task of ``segdl-train pretrain``: give back what a cube was before it was distorted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.networks.network import Network

from SegDLTrainingLib.averaging import WeightAverage
from SegDLTrainingLib.losses.registry import build_loss
from SegDLTrainingLib.restoration.cubes import RestorationBatches
from SegDLTrainingLib.restoration.distortions import Distortion
from SegDLTrainingLib.task import Follower, Part, Setting
from SegDLTrainingLib.volumes import PreparedVolume


class Restoration:
    """The recipe's ``restoration`` holds the constants of ``Distortion``; validation is by the loss alone."""

    def __init__(self, setting: Setting):
        recipe, network = setting.recipe, setting.network
        if network.dimensions != 3 or network.margin:
            raise InputError(
                f"The network '{recipe.card['network']['name']}' cannot restore cubes.",
                hint="Choose a 3D network whose output is as large as its input, such as genesis_unet3d.",
            )
        self._activation = recipe.card["inference"]["activation"]
        self._loss = build_loss(recipe["loss"], self._activation)
        self._distortion = _distortion(recipe.data.get("restoration", {}))
        self._sampling = recipe["sampling"]
        self._names = [volume.name for volume in setting.training]
        self._batches = self._draw(setting.training, recipe.seed)
        self._setting = setting
        self._judged: list[Part] = []
        self.every = int(recipe.validation.get("every", 1))
        if setting.validation:
            drawn, processes = self._draw(setting.validation, recipe.seed + 1), setting.processes
            mine = range(processes.rank, int(recipe.validation["batches"]), processes.count)
            self._judged = [drawn.batch(number) for number in mine]
        self.size = self._batches.size
        self.average: Follower = WeightAverage(network, recipe["training"].get("weight_average", 0.0))
        self.kept: Network = self.average.network

    def _draw(self, volumes: Sequence[PreparedVolume], seed: int) -> RestorationBatches:
        """Batches of the first input of the volumes."""
        if not volumes:
            raise InputError("There are no cases to draw from.")
        for volume in volumes:
            low, high = float(np.min(volume.image[0])), float(np.max(volume.image[0]))
            if low < 0 or high > 1:
                raise InputError(
                    f"Case '{volume.name}' has prepared values from {low:g} to {high:g}, outside 0 to 1.",
                    hint="Let the recipe's preprocessing end with the step 'window'.",
                )
        size, batch = self._sampling["patch"], int(self._sampling["batch"])
        return RestorationBatches(_Scans(volumes), size, batch, seed, self._distortion)

    def part(self, number: int, rows: Sequence[int]) -> Part:
        """Distorted cubes and what they were."""
        return self._batches.batch(number, rows)

    def names(self, number: int) -> list[str]:
        return [self._names[place] for place in self._batches.volumes_of(number)]

    def loss(self, logits: torch.Tensor, aims: Sequence[torch.Tensor], epoch: float) -> torch.Tensor:
        return self._loss(logits, aims[0], int(epoch))

    @torch.no_grad()
    def judge(self, network: Network, epoch: int) -> dict[str, float]:
        """ "validation_loss": mean over always the same cubes."""
        setting = self._setting
        if not setting.validation:
            return {}
        total = 0.0
        for seen, truth in self._judged:
            with setting.precision.autocast():
                logits = network(seen.to(setting.device)).float().cpu()
            total += float(self._loss(logits, truth, epoch))
        whole, count = setting.processes.sum([total, len(self._judged)], setting.device)
        return {"validation_loss": whole / count}


def _distortion(constants: dict[str, float]) -> Distortion:
    try:
        return Distortion(**constants)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"The recipe's restoration: {error}.") from error


class _Scans(Sequence[np.ndarray]):
    """The first input (k, j, i) of each volume, mapped as long as it is drawn from."""

    def __init__(self, volumes: Sequence[PreparedVolume]):
        self._volumes = volumes

    def __len__(self) -> int:
        return len(self._volumes)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        return self._volumes[number].image[0]
