"""``segdl-train svcca``: two models' layers against each other, or one model's layers over its training."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.models.catalogue import Model, load_model
from SegDLEngine.protocol import Reporter

if TYPE_CHECKING:
    import torch
    from SegDLEngine.networks.network import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, help="model (id or package); the converged one with --stages"
    )
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--other", help="a second model: every layer against every layer")
    other.add_argument("--stages", type=Path, help="folder of *.safetensors saved while --model was trained")
    parser.add_argument(
        "--case",
        action="append",
        required=True,
        nargs="+",
        metavar="NAME=IMAGE",
        help="images of one case by the input names of the model; repeat for more cases",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for svcca.csv and svcca.png")
    parser.add_argument("--per-case", type=int, default=4, help="slices or patches of each case")
    parser.add_argument("--variance", type=float, default=0.99, help="share kept by the singular directions")
    parser.add_argument(
        "--sum", action="store_true", help="share of the sum of singular values, not of their squares"
    )
    parser.add_argument(
        "--points", type=int, default=10000, help="voxels of all images at most, at which layers are compared"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides which slices, patches and voxels")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Writes the table, then the picture if matplotlib is there."""
    from SegDLTrainingLib.start import weights_like
    from SegDLTrainingLib.svcca.inputs import network_inputs
    from SegDLTrainingLib.svcca.pictures import draw_curves, draw_heat_map
    from SegDLTrainingLib.svcca.study import Sampling, compare_networks, compare_training, stages_in

    if not 0 < arguments.variance <= 1:
        raise InputError(f"--variance {arguments.variance} is not within 0 to 1.")
    for option in ("per_case", "points"):
        if getattr(arguments, option) < 1:
            raise InputError(f"--{option.replace('_', '-')} must be at least 1.")
    model = load_model(arguments.model)
    network = _network(model)
    cases = [_case(entries) for entries in arguments.case]
    images = network_inputs(model, network, cases, reporter, arguments.per_case, arguments.seed)
    sampling = Sampling(arguments.variance, not arguments.sum, arguments.points, arguments.seed)
    if arguments.other:
        other = load_model(arguments.other)
        result = compare_networks(network, _fitting(other, images), images, reporter, sampling)
        axes = (model.id, other.id)
        if model.id == other.id:  # packages of one recipe have one id
            axes = (Path(arguments.model).name, Path(arguments.other).name)
        draw = partial(draw_heat_map, title="Likeness of layers (SVCCA)", axes=axes)
    else:
        final = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        hint = "Give stages of this model."
        stages = {path.stem: partial(weights_like, path, final, hint) for path in stages_in(arguments.stages)}
        result = compare_training(network, stages, final, images, reporter, sampling)
        draw = partial(draw_curves, title=f"{model.id}: layers over the training")
    arguments.output.mkdir(parents=True, exist_ok=True)
    table, picture = arguments.output / "svcca.csv", arguments.output / "svcca.png"
    result.write_csv(table)
    files = {"table": str(table)}
    try:
        draw(result, picture)
        files["picture"] = str(picture)
    except InputError as error:
        reporter.warning("picture", str(error))
    reporter.emit("result", files=files)


def _network(model: Model) -> Network:
    from SegDLEngine.networks.network import Network

    from SegDLTrainingLib.start import single_network

    network = single_network(model)
    assert isinstance(network, Network)
    return network


def _fitting(model: Model, images: torch.Tensor) -> Network:
    network = _network(model)
    wanted = network.report_input[0]
    if network.dimensions != images.dim() - 2 or wanted != images.shape[1]:
        raise ModelError(
            f"The models cannot see the same input: '{model.id}' takes {wanted} channels in "
            f"{network.dimensions}D, the first one {images.shape[1]} in {images.dim() - 2}D.",
            hint="Compare models with the same inputs.",
        )
    return network


def _case(entries: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in entries]
    for name, _, path in pairs:
        if not name or not path:
            raise InputError(f"--case {name}{path}: this is not NAME=IMAGE.", hint="For example CT=ct.nii.gz")
    return {name: path for name, _, path in pairs}
