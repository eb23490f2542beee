"""Run by torchrun as a script: its processes train each of ``RECIPES``, and a mean teacher, into a folder."""

import functools
import sys
from pathlib import Path

import torch
from blob_training import blobs, network_recipe
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.fit import Machine, fit
from SegDLTrainingLib.processes import Processes, joined
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.semi_supervised.task import SemiSupervised
from SegDLTrainingLib.whole_batch import WholeBatch
from test_semi_supervised_run import labelled_patches, start_weights
from test_semi_supervised_run import tiny_recipe as semi_supervised_recipe
from tiny_training import balls, smallest_recipe
from torch import distributed, nn

# Plain steps, as Adam makes a whole step of the rounding of a gradient that is zero.
SGD = {"name": "sgd", "momentum": 0.9}


def slices(**changes) -> Recipe:
    """Batch norm and dropout in 2D; each batch in two parts."""
    training = {"accumulate": 2, "epochs": 2, **changes}
    return smallest_recipe(optimiser=SGD, training=training, loss={"name": "dice", "per": "batch"})


def volumes(name: str, options: dict, side: int = 8, **changes) -> Recipe:
    training, sampling = {"epochs": 1, "steps_per_epoch": 4}, {"batch": 2}
    return network_recipe(
        name, options, [side] * 3, optimiser=SGD, training=training, sampling=sampling, **changes
    )


RECIPES = {
    "slices": slices(),
    "slices in bfloat16": slices(mixed_precision="bfloat16"),
    "multiscale": volumes(
        "multiscale_cnn3d", {"in_channels": 1, "out_channels": 2}, 16, activation="softmax"
    ),
    "channel dropout": volumes("unet3d_69k", {"in_channels": 1, "dropout": 0.3}),
    "by the batch": volumes("genesis_unet3d", {"filters": 2, "batch_statistics": True}),
}


def train(folder: Path, processes: Processes) -> None:
    machine = Machine("cpu", processes)
    for name, recipe in RECIPES.items():
        patch = recipe["sampling"].get("patch")
        cases = (blobs(3, patch), blobs(1, patch, first=9)) if patch else (balls(), balls(2))
        fit(recipe, *cases, folder / name, Reporter(), machine)
    recipe = semi_supervised_recipe()
    recipe.data["optimiser"] = SGD
    own = folder / f"patches {processes.rank}"
    own.mkdir()
    task = functools.partial(SemiSupervised, labelled_patches(own, recipe))
    fit(recipe, balls(2), balls(1), folder / "teacher", Reporter(), machine, start_weights(), make_task=task)


def gradients(rows: torch.Tensor, count: int) -> list[torch.Tensor]:
    """Output, gradients and statistics of a batch norm as in multiscale_cnn3d, in double precision."""
    torch.manual_seed(5)
    rows = rows.clone().requires_grad_()
    layer = nn.Sequential(nn.BatchNorm3d(3, eps=1e-10, momentum=0.5), nn.PReLU(3)).double()
    nn.init.normal_(layer[0].weight)
    output = layer(rows)
    (output**3).sum().backward()
    of_parameters = [parameter.grad for parameter in layer.parameters()]
    for gradient in of_parameters if count > 1 else []:
        distributed.all_reduce(gradient)
    return [output, rows.grad, *of_parameters, layer[0].running_mean, layer[0].running_var]


def check_layer(processes: Processes) -> None:
    """The gradients of a shared batch are those of the whole one."""
    rows = 5 + torch.randn(4, 3, 2, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    mine = processes.share(range(4))
    with WholeBatch(processes, len(mine)):
        found = gradients(rows[mine.start : mine.stop], processes.count)
    for number, (one, all_rows) in enumerate(zip(found, gradients(rows, 1), strict=True)):
        whole = all_rows[mine.start : mine.stop] if number < 2 else all_rows
        assert torch.allclose(one, whole, rtol=1e-10, atol=1e-12), number


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined("cpu") as together:
        check_layer(together)
        train(Path(sys.argv[1]), together)
