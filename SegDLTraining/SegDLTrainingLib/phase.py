"""One phase of a training: what its recipe says, built round the network, and the single step."""

from __future__ import annotations

import contextlib
import copy
import math
from typing import Any

import torch
from SegDLEngine.errors import InputError, SegDLError
from torch.nn.parallel import DistributedDataParallel

from SegDLTrainingLib.draws import seed_of
from SegDLTrainingLib.loading import Loader
from SegDLTrainingLib.optimisers import PenalisedSGD, build_optimiser
from SegDLTrainingLib.schedules import build_schedule
from SegDLTrainingLib.task import Part, Setting, TaskMaker
from SegDLTrainingLib.trainable import choose_trainable, set_training, unused_parameters
from SegDLTrainingLib.whole_batch import WholeBatch


class Phase:
    """Task, optimiser and schedule of one recipe, and the step that uses them.

    A batch is computed in ``training.accumulate`` parts, whose gradients add up to that of the whole, and the
    processes share each part.  Batch norm and losses that do not count every row for itself (a Dice over the
    whole batch) see a part at a time, of all processes.
    """

    def __init__(self, setting: Setting, make_task: TaskMaker, loaders: int):
        recipe, settings, network = setting.recipe, setting.recipe["training"], setting.network
        self.settings = settings
        self.epochs, self.steps = int(settings["epochs"]), int(settings["steps_per_epoch"])
        self.schedule = build_schedule(recipe["schedule"])
        self.precision = setting.precision
        self._seed, self._device, self._processes = recipe.seed, setting.device, setting.processes
        self._network = network
        choose_trainable(network, settings.get("trainable", ["*"]))
        self.optimiser = build_optimiser(
            [parameter for parameter in network.parameters() if parameter.requires_grad],
            recipe.data.get("optimiser", {}),
        )
        self.task = make_task(setting)
        parts = _parts(self.task.size, int(settings.get("accumulate", 1)))
        # The first row of a part, in whichever process, names its random numbers.
        self._first_rows = [rows[0] for rows in parts]
        self._parts = [setting.processes.share(rows) for rows in parts]
        self._load = Loader(self._batch, loaders)
        self._model = self._parallel()

    def begin_epoch(self) -> None:
        set_training(self._network)

    def step(self, number: int, last: int, epoch: float, rate: float) -> float:
        """One step at a (fractional) epoch; returns the loss of the whole batch.

        Raises SegDLError, before any weight changes, when the loss or its gradient is not a number.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if isinstance(self.optimiser, PenalisedSGD):
            self.optimiser.set_epoch(epoch)
        self.optimiser.zero_grad(set_to_none=True)
        total, parts = 0.0, self._load(number, last)
        for place, (images, *aims) in enumerate(parts):
            # Dropout is the only random layer; its masks too follow from the seed and the step.
            torch.manual_seed(seed_of(self._seed, number, self._first_rows[place], 1))
            together = contextlib.nullcontext() if place == len(parts) - 1 else self._apart()
            with together:
                with self.precision.autocast(), self._whole_batch():
                    logits = self._model(images.to(self._device, non_blocking=True))
                there = [aim.to(self._device, non_blocking=True) for aim in aims]
                value = self.task.loss(logits.float(), there, epoch)
                self.precision.scaler.scale(value / len(parts)).backward()
            total += float(value.detach()) / len(parts)
        loss = self._processes.sum([total], self._device)[0] / self._processes.count
        self._check(loss, "loss", number)
        self.precision.scaler.unscale_(self.optimiser)
        clip = self.settings.get("gradient_clip")
        if clip:
            norm = float(torch.nn.utils.clip_grad_norm_(self._network.parameters(), clip))
            if not self.precision.scaler.is_enabled():
                self._check(norm, "gradient of the loss", number)
        self.precision.scaler.step(self.optimiser)
        self.precision.scaler.update()
        return loss

    def close(self) -> None:
        self._load.close()

    def _batch(self, number: int) -> list[Part]:
        """This process's parts of a batch."""
        return [self.task.part(number, rows) for rows in self._parts]

    def _check(self, value: float, what: str, number: int) -> None:
        if not math.isfinite(value):
            names = sorted(set(self.task.names(number)))
            raise SegDLError(
                f"The {what} is not a number in step {number + 1} (cases: {', '.join(names[:5])}).",
                hint="Lower the learning rate, clip the gradient, or check these cases. "
                "The last checkpoint is kept.",
                code="not_a_number",
            )

    def _parallel(self) -> torch.nn.Module:
        """The network, wrapped so that the processes' gradients are averaged."""
        if self._processes.count == 1:
            return self._network
        trial, images = copy.deepcopy(self._network), self._batch(0)[0][0].to(self._device)
        with self.precision.autocast(), self._whole_batch():
            unused = unused_parameters(trial, images)
        names = {id(parameter): name for name, parameter in trial.named_parameters()}
        idle = {names[id(parameter)] for parameter in unused}
        for name, parameter in self._network.named_parameters():
            if name in idle:
                parameter.requires_grad_(False)
        return DistributedDataParallel(self._network)

    def _apart(self) -> Any:
        model = self._model
        return model.no_sync() if isinstance(model, DistributedDataParallel) else contextlib.nullcontext()

    def _whole_batch(self) -> Any:
        processes = self._processes
        return WholeBatch(processes, len(self._parts[0])) if processes.count > 1 else contextlib.nullcontext()


def _parts(size: int, count: int) -> list[range]:
    if count < 1 or size % count:
        raise InputError(
            f"A batch of {size} rows cannot be computed in {count} equal parts.",
            hint="Choose a training.accumulate that divides sampling.batch.",
        )
    each = size // count
    return [range(first, first + each) for first in range(0, size, each)]
