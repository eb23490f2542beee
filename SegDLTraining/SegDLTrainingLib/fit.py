"""Fit a network after a recipe: epochs of steps, averaged weights, validation, kept weights, checkpoints.

Everything random follows from the recipe's seed and the number of the step, and a checkpoint holds all else,
so a training that was interrupted at any moment ends with the weights of one that was not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from SegDLEngine.errors import Cancelled, SegDLError
from SegDLEngine.networks.registry import build_network
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib.checkpoint import (
    Position,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from SegDLTrainingLib.curves import Curves
from SegDLTrainingLib.identity import Identity
from SegDLTrainingLib.initialisation import set_output_bias
from SegDLTrainingLib.phase import Phase
from SegDLTrainingLib.precision import Precision, usable_kind
from SegDLTrainingLib.processes import Processes
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.schedules import stagnates, values
from SegDLTrainingLib.segmentation import Segmentation
from SegDLTrainingLib.stages import write_stage
from SegDLTrainingLib.task import Setting, TaskMaker
from SegDLTrainingLib.volumes import PreparedVolume

KEPT_FILES = "kept-*.safetensors"
CHECKPOINT_SECONDS = 600.0

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class FitResult:
    """``state``: the kept, averaged weights; ``history``: one row an epoch; ``kept``: the row of ``state``.

    The recipe's ``training.keep`` says which weights: the "best" of ``training.monitor`` or the "last".
    """

    state: State
    history: list[dict[str, Any]]
    kept: dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """Where a training runs; the weights do not depend on it, but for rounding.

    ``loaders``: threads that draw batches ahead.
    """

    device: str = "cpu"
    processes: Processes = field(default_factory=Processes)
    loaders: int = 0

    def facts(self) -> dict[str, Any]:
        """What decides about rounding and about how a batch is shared."""
        kind = self.device.partition(":")[0]
        threads = {"threads": torch.get_num_threads()} if kind == "cpu" else {}
        return {"device": kind, "processes": self.processes.count, "PyTorch": torch.__version__, **threads}


def fit(
    recipe: Recipe,
    training: Sequence[PreparedVolume],
    validation: Sequence[PreparedVolume],
    folder: str | Path,
    reporter: Reporter,
    machine: Machine | None = None,
    initial: Mapping[str, torch.Tensor] | None = None,
    curves: Curves | None = None,
    make_task: TaskMaker = Segmentation,
    identity: Identity | None = None,
) -> FitResult:
    """Train and return the weights; checkpoint, kept weights and curve of the training are in ``folder``.

    A checkpoint in ``folder`` is continued.  ``initial`` weights are where a new training starts, random ones
    by default.  Raises InputError when the checkpoint is of another training; Cancelled, after writing a
    checkpoint, when the reporter is told to stop; SegDLError when the loss is no number or the disk is full,
    keeping the last checkpoint.
    ``make_task`` says what is trained for; segmentation after the recipe by default.  ``identity``: that of
    recipe, cases and initial weights by default.
    """
    machine, folder = machine or Machine(), Path(folder)
    if curves is None and machine.processes.first:
        curves = Curves(folder)
    if identity is None:
        identity = Identity.of(recipe, {"training": training, "validation": validation}, initial)
    return _Fit(
        recipe, training, validation, folder, reporter, machine, initial, curves, make_task, identity
    ).to_the_end()


class _Fit:
    """One training: network, averaged network, optimiser and position, which together are the checkpoint."""

    def __init__(
        self, recipe: Recipe, training: Sequence[PreparedVolume], validation: Sequence[PreparedVolume],
        folder: Path, reporter: Reporter, machine: Machine, initial: Mapping[str, torch.Tensor] | None,
        curves: Curves | None, make_task: TaskMaker, identity: Identity,
    ):  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._reporter, self._machine, self._curves = folder, reporter, machine, curves
        self._recipes, self._make_task = recipe.phases, make_task
        self._cases = (training, validation)
        self._identity = identity
        self._checkpoint = load_checkpoint(folder, identity)
        torch.manual_seed(recipe.seed)
        network = recipe.card["network"]
        self._network = build_network(network["name"], network["options"]).to(machine.device)
        if initial is not None:
            self._network.load_state_dict(initial)
        self._set_output_bias(recipe)
        self._all_steps = sum(
            int(phase["training"]["epochs"]) * int(phase["training"]["steps_per_epoch"])
            for phase in self._recipes
        )
        self._all_epochs = sum(int(phase["training"]["epochs"]) for phase in self._recipes)
        self._position = Position()
        self._kept: State = {}
        if self._checkpoint is not None:
            self._position = self._checkpoint.position
            self._network.load_state_dict(self._checkpoint.module("network"))
            if self._position.kept_file:
                self._kept, _ = read_tensors(folder / self._position.kept_file)
            self._compare_machines(self._checkpoint.extra["machine"])
            if self._finished:
                reporter.log(f"This training is finished, all {self._position.number} steps of it.")
            else:
                reporter.log(f"Continuing after step {self._position.number} of {self._all_steps}.")
        machine.processes.agree(self._position.number, machine.device, folder)
        self._saved = self._started = time.monotonic()
        self._number_at_start = self._position.number

    @property
    def _finished(self) -> bool:
        """Early stopping ends a phase before its last step."""
        last = self._recipes[-1]["training"]["epochs"]
        return self._position.phase + 1 == len(self._recipes) and self._position.epoch >= int(last)

    def _compare_machines(self, earlier: Mapping[str, Any]) -> None:
        """Warn of what makes the weights others than those of a training that was not interrupted."""
        now = self._machine.facts()
        both = [key for key in now if key in earlier]
        changed = [f"{key} {earlier[key]} became {now[key]}" for key in both if earlier[key] != now[key]]
        if changed:
            self._reporter.warning(
                "other_machine",
                f"This training began elsewhere ({'; '.join(changed)}): it goes on well, but its weights "
                "will not be bit for bit those of an undisturbed one.",
            )

    def _set_output_bias(self, recipe: Recipe) -> None:
        name = recipe["training"].get("output_bias")
        if name:
            values = [label["value"] for label in recipe.card["labels"]]
            activation = recipe.card["inference"]["activation"]
            set_output_bias(self._network, name, self._cases[0], values, activation)

    def to_the_end(self) -> FitResult:
        position = self._position
        try:
            self._all_phases()
        except Cancelled:
            self._close_curves()
            raise
        self._close_curves()
        return FitResult(self._kept, position.history, position.kept)

    def _all_phases(self) -> None:
        position = self._position
        while True:
            self._phase = self._enter_phase()
            if position.number == 0:
                self._write_stage()
            try:
                while position.epoch < self._phase.epochs:
                    self._epoch()
            finally:
                self._phase.close()
            if position.phase + 1 == len(self._recipes):
                return
            position.phase, position.epoch, position.step = position.phase + 1, 0, 0

    def _close_curves(self) -> None:
        if self._curves is not None:
            self._curves.close(self._position.history)

    def _enter_phase(self) -> Phase:
        """Build the phase of the position; a later phase starts from the weights that the last one kept."""
        position, checkpoint = self._position, self._checkpoint
        self._checkpoint = None
        if checkpoint is None and position.phase > 0:
            self._network.load_state_dict(self._kept)
            position.kept = {}
        recipe = self._recipes[position.phase]
        machine = self._machine
        precision = Precision(self._precision_of(recipe), machine.device)
        setting = Setting(recipe, self._network, *self._cases, precision, machine.device, machine.processes)
        phase = Phase(setting, self._make_task, machine.loaders)
        self._average = phase.task.average
        if checkpoint is not None:
            self._average.network.load_state_dict(checkpoint.module("average"))
            self._average.count = checkpoint.extra["averaged"]
            phase.optimiser.load_state_dict(checkpoint.optimiser())
            phase.precision.restore(checkpoint.extra["scaler"])
        return phase

    def _precision_of(self, recipe: Recipe) -> str:
        asked = recipe["training"].get("mixed_precision", "bfloat16")
        patch = recipe["sampling"].get("patch", ())
        kind = usable_kind(asked, self._machine.device, self._network, patch)
        if kind != asked:
            self._reporter.warning(
                "precision", f"{asked} is not safe for this network and patch on a CPU; float32 is used."
            )
        return kind

    def _epoch(self) -> None:
        position, phase = self._position, self._phase
        began = time.perf_counter()
        rows = [row for row in position.history if row["phase"] == position.phase]
        phase.begin_epoch()
        while position.step < phase.steps:
            epoch = position.epoch + position.step / phase.steps
            rate = phase.schedule(epoch, rows)
            last = position.number + phase.steps * (phase.epochs - position.epoch) - position.step - 1
            loss = phase.step(position.number, last, epoch, rate)
            self._average.update(self._network)
            position.step += 1
            position.number += 1
            position.total += loss
            self._after_step(loss, rate)
        rate = phase.schedule(position.epoch + (phase.steps - 1) / phase.steps, rows)
        row = {"epoch": len(position.history), "phase": position.phase, "loss": position.total / phase.steps,
               "rate": rate}  # fmt: skip
        if (position.epoch + 1) % phase.task.every == 0 or position.epoch + 1 == phase.epochs:
            row.update(phase.task.judge(phase.task.kept, position.epoch))
        row["seconds"] = time.perf_counter() - began
        row = {key: round(value, 6) for key, value in row.items()}
        # Rates fall by orders of magnitude: significant digits instead of decimals.
        self._end_epoch({**row, "rate": float(f"{rate:.6g}")})

    def _after_step(self, loss: float, rate: float) -> None:
        """Write a stage if it is time; report; write a checkpoint if it is time or a stop is asked for."""
        position, phase, processes = self._position, self._phase, self._machine.processes
        self._write_stage()
        done = position.number - self._number_at_start
        seconds = (time.monotonic() - self._started) / done * (self._all_steps - position.number)
        asked = False
        try:
            self._reporter.progress(
                "training", position.number / self._all_steps, eta_s=round(seconds, 1),
                epoch=len(position.history) + 1, epochs=self._all_epochs, step=position.step,
                steps=phase.steps, loss=loss, rate=rate,
            )  # fmt: skip
        except Cancelled:
            asked = True
        every = int(phase.settings.get("checkpoint_steps", 0))
        overdue = time.monotonic() - self._saved > CHECKPOINT_SECONDS
        asked_by, due = processes.sum([asked, processes.first and overdue], self._machine.device)
        if asked_by or due or (every and position.number % every == 0):
            self._save()
        if asked_by:
            raise Cancelled(
                f"Stopped after step {position.number} of {self._all_steps}; a checkpoint was written.",
                hint="The same command goes on from here.",
            )

    def _write_stage(self) -> None:
        phase = self._phase
        if self._machine.processes.first:
            stages = phase.settings.get("stages")
            write_stage(self._folder, stages, self._position, phase.steps, phase.task.kept)

    def _end_epoch(self, row: dict[str, Any]) -> None:
        position, phase = self._position, self._phase
        self._check_weights(row)
        position.history.append(row)
        metric = phase.settings.get("monitor", "validation_dice")
        best = values([position.kept], metric)
        now = values([row], metric)
        # As long as nothing is measured, the newest weights are the best that are known.
        better = not best or (bool(now) and now[0] <= best[0])
        if better or phase.settings["keep"] == "last":
            position.kept = row
            position.kept_file = KEPT_FILES.replace("*", f"{position.number:08d}")
            self._kept = {key: value.clone() for key, value in phase.task.kept.state_dict().items()}
            if self._machine.processes.first:
                write_tensors(self._folder / position.kept_file, self._kept, {"row": json.dumps(row)})
        position.epoch, position.step, position.total = position.epoch + 1, 0, 0.0
        rules = phase.settings.get("early_stopping")
        rows = [entry for entry in position.history if entry["phase"] == position.phase]
        if rules and stagnates(
            rows, rules.get("metric", metric), int(rules["patience"]), float(rules.get("min_delta", 0.0))
        ):
            position.epoch = phase.epochs
        self._save()
        if self._curves is not None:
            self._curves.write(position.history)
        self._reporter.emit("log", text=_summary(row), row=row)

    def _check_weights(self, row: Mapping[str, Any]) -> None:
        """The loss of a step says nothing of the weights that the step leaves."""
        state = self._phase.task.kept.state_dict()
        if all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
            return
        raise SegDLError(
            f"The weights are no longer numbers after epoch {row['epoch'] + 1}.",
            hint="Lower the learning rate or clip the gradient. The last checkpoint is kept.",
            code="not_a_number",
        )

    def _save(self) -> None:
        """Write the checkpoint, then remove kept weights that it no longer names."""
        if not self._machine.processes.first:
            return
        position = self._position
        modules = {"network": self._network, "average": self._average.network}
        extra = {"averaged": self._average.count, "scaler": self._phase.precision.state(),
                 "machine": self._machine.facts()}  # fmt: skip
        save_checkpoint(self._folder, self._identity, position, modules, self._phase.optimiser, extra)
        for path in self._folder.glob(KEPT_FILES):
            if path.name != position.kept_file:
                path.unlink(missing_ok=True)
        self._saved = time.monotonic()


def _summary(row: Mapping[str, Any]) -> str:
    judged = ""
    if "validation_dice" in row:
        judged = f", validation Dice {row['validation_dice']:.4f}"
    elif "validation_loss" in row:
        judged = f", validation loss {row['validation_loss']:.4f}"
    return f"epoch {row['epoch'] + 1}: loss {row['loss']:.4f}{judged}, {row['seconds']:.0f} s"
