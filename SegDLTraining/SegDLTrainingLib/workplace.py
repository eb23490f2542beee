"""Where and on what a training runs: folders, device, processes, curves and the prepared cases."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from SegDLEngine.errors import InputError
from SegDLEngine.models.writing import refuse_other_content
from SegDLEngine.protocol import Reporter

from SegDLTrainingLib import own_check
from SegDLTrainingLib.cache import remove_unused
from SegDLTrainingLib.curves import Curves
from SegDLTrainingLib.fit import Machine
from SegDLTrainingLib.lock import alone
from SegDLTrainingLib.places import WEIGHTS_EXTENSION, working_folder
from SegDLTrainingLib.processes import joined
from SegDLTrainingLib.recipes import RESTORATION, Recipe
from SegDLTrainingLib.sources import load_part
from SegDLTrainingLib.volumes import PreparedVolume

GPU_LOADERS = 4


@dataclass(frozen=True)
class Workplace:
    """``folder`` holds checkpoint, kept weights and curve; ``cache`` the prepared cases."""

    folder: Path
    cache: Path
    machine: Machine
    curves: Curves | None
    reporter: Reporter
    workers: int

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process does what is in here, and writes it; then the others find it done."""
        processes = self.machine.processes
        if not processes.first:
            processes.wait()
        yield
        if processes.first:
            processes.wait()

    def cases(self, recipe: Recipe) -> dict[str, list[PreparedVolume]]:
        """The cases for "training" and "validation"."""
        weights = {
            own_check.STAGE: 0.02, "test cases": 0.01, "validation cases": 0.02, "training cases": 0.15,
            "training": 0.8,
        }  # fmt: skip
        self.reporter.stages(weights)
        with self.first_alone():
            own = recipe["data"]["source"] == "manifest" and recipe.task != RESTORATION
            if own and self.machine.processes.first:
                own_check.check_own_cases(recipe, self.cache, self.workers, self.reporter)
            cases = {part: self.part(recipe, part) for part in ("validation", "training")}
        if not cases["validation"]:
            self.reporter.warning(
                "no_validation",
                "There are no cases for validation: nothing tells how good the model is, and the weights of "
                "the last epoch are kept.",
            )
        return cases

    def test_cases(self, recipe: Recipe) -> list[PreparedVolume]:
        """The user's labelled cases for "test", by which the finished network is measured."""
        if recipe["data"]["source"] != "manifest" or recipe.task == RESTORATION:
            return []
        with self.first_alone():
            return self.part(recipe, "test")

    def part(self, recipe: Recipe, part: str) -> list[PreparedVolume]:
        return load_part(recipe, part, self.cache, self.workers, self.reporter, f"{part} cases")


@contextlib.contextmanager
def workplace(
    output: Path,
    reporter: Reporter,
    cache: str | Path | None = None,
    device: str = "auto",
    threads: int = 0,
    workers: int = 2,
    tensorboard: bool = False,
) -> Iterator[Workplace]:
    """The workplace of a training whose result is ``output``.

    Cases are kept in ``cache``, all else of the running training in ``output`` with ``-training`` appended to
    its name, where a training that was interrupted goes on.  By default the cache is there too; what the
    training has not used of it is removed in the end.  Under ``torchrun`` all processes share the training;
    only the first one reports and writes.  Raises SegDLError while another training runs there.
    """
    folder, started = working_folder(output), time.time()
    refuse_unusable(output, folder, *([Path(cache)] if cache else []))
    device = device_of(device)
    if threads < 0:
        raise InputError(f"--threads {threads} is less than 0.", hint="0 takes all.")
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    with joined(device) as processes:
        if not processes.first:
            reporter = Reporter()
        machine = Machine(device, processes, GPU_LOADERS if device.startswith("cuda") else 0)
        curves = Curves(folder, picture=True, tensorboard=tensorboard) if processes.first else None
        kept = Path(cache) if cache else folder / "cache"
        with alone(folder) if processes.first else contextlib.nullcontext():
            yield Workplace(folder, kept, machine, curves, reporter, workers)
            if processes.first and not cache:
                remove_unused(kept, started)


def refuse_unusable(output: Path, *folders: Path) -> None:
    """Raise InputError before the work begins if its result could not be written in the end."""
    if output.suffix != WEIGHTS_EXTENSION:
        refuse_other_content(output)
    elif output.is_dir():
        raise InputError(f"{output} is a folder, so no weights are written there.", hint="Name a file.")
    for path in (output, *folders):
        place = path.absolute().parent
        while not place.exists():
            place = place.parent
        try:
            with tempfile.TemporaryDirectory(dir=place):
                pass
        except OSError as error:
            raise InputError(
                f"{path} cannot be written, as {place} takes no files: {error.strerror}.",
                hint="Choose another folder, or allow writing there.",
            ) from error


def device_of(wanted: str) -> str:
    """The device to train on; raises InputError for one that is unknown or not there."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        known = device.type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise InputError(f"The device '{wanted}' is unknown.", hint="Use --device auto, cpu or cuda:0.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"The device '{wanted}' is not there: PyTorch finds {torch.cuda.device_count()} CUDA devices.",
            hint="Use --device cpu, or install a driver and a PyTorch with CUDA.",
        )
    if wanted == "cuda" and "LOCAL_RANK" in os.environ:
        wanted = f"cuda:{os.environ['LOCAL_RANK']}"
    return wanted
