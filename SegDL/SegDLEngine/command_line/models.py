"""``segdl models``: list, show, install, import, remove and verify models."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from SegDLEngine.command_line.model_texts import print_model, print_models
from SegDLEngine.errors import InputError

_TRUST = "the TorchScript archive, a program that may read and write your files, may be run"
_IMPORT = """\
Make a model of weights that others published and that you have, and install it.

  segdl models import unet_r231-d5d2fc3d.pth           lungmask: lungs-r231-unet2d
  segdl models import *_best_model_weights.pt          HECKTOR 2020: head-neck-tumor-se-resunet3d
  segdl models import weights.pth --as ID              weights of any listed model's network
  segdl models import spleen_ct_segmentation.zip       a MONAI bundle (needs monai)
  segdl models import nnUNetTrainer__nnUNetPlans__3d_fullres
                                                       an nnU-Net v2 results folder (needs
                                                       dynamic-network-architectures)
  segdl models import Genesis_Chest_CT.pt --initial init.safetensors
                                                       Models Genesis: no model, but weights to start a
                                                       training from, flattened to 2D

Pickles are never executed: of PyTorch files only tensors, numbers and texts are read. A TorchScript archive
is a program and needs --trust. Stored in half precision, --initial in full."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("models", help="list, show, install, import, remove or verify models")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="one row for each model")
    show = actions.add_parser("show", help="the card of a model")
    show.add_argument("model", help="id, package folder or zip")
    install = actions.add_parser("install", help="check a package and copy it to your models")
    install.add_argument("package", help="folder or zip")
    install.add_argument("--replace", action="store_true", help="exchange another version of the model")
    install.add_argument("--trust", action="store_true", help=_TRUST)
    bring = actions.add_parser(
        "import",
        help="make a model of weights that others published",
        description=_IMPORT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bring.add_argument("source", nargs="+", help="file, folder or zip; several files are folds")
    bring.add_argument("--as", dest="card_id", metavar="ID", help="model the weights are for, or the new id")
    bring.add_argument("--folds", metavar="0,1", help="folds of an nnU-Net results folder; all by default")
    bring.add_argument("--licence", metavar="FILE", help="terms of the weights, kept with them")
    bring.add_argument("--replace", action="store_true", help="exchange other weights of the model")
    bring.add_argument("--trust", action="store_true", help=_TRUST)
    bring.add_argument(
        "--initial", metavar="FILE", help="write .safetensors to start a training from, instead of a model"
    )
    bring.add_argument("--network", metavar="NAME", help="with --initial: network; genesis_unet2d by default")
    bring.add_argument("--options", metavar="JSON", help="with --initial: options of the network")
    remove = actions.add_parser("remove", help="remove a model that you installed")
    remove.add_argument("model", help="id")
    verify = actions.add_parser("verify", help="check files, SHA-256, card, and that the weights fit")
    verify.add_argument("model", help="id, package folder or zip")
    for action in (listing, show, install, bring, remove, verify):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    return _ACTIONS[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from SegDLEngine.models.catalogue import list_models

    rows = [
        model.row()
        for model in list_models(lambda _, error: print(f"segdl: warning: {error}", file=sys.stderr))
    ]
    if arguments.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    print_models(rows)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from SegDLEngine.models.catalogue import load_model

    model = load_model(arguments.model, need_weights=False)
    if arguments.json:
        print(json.dumps(model.card.data, indent=1, ensure_ascii=False))
        return 0
    print_model(model)
    return 0


def _install(arguments: argparse.Namespace) -> int:
    from SegDLEngine.models.importers.states import EXTENSIONS
    from SegDLEngine.models.package import install, read_card
    from SegDLEngine.models.trust import check_trusted, trust

    path = Path(arguments.package)
    if path.is_file() and path.suffix.lower() in EXTENSIONS:
        raise InputError(
            f"{path} holds weights and is no SegDL package.", hint="Use segdl models import; see its --help."
        )
    card = read_card(path) if path.exists() else None
    if card is not None and not arguments.trust:
        check_trusted(card)
    folder = install(arguments.package, replace=arguments.replace)
    if card is not None and arguments.trust:
        trust(card)
    return _say_installed(arguments, folder)


def _import(arguments: argparse.Namespace) -> int:
    if arguments.initial:
        return _write_initial(arguments)
    if arguments.network or arguments.options:
        raise InputError("--network and --options belong to --initial.", code="usage")
    from SegDLEngine.models.importers.importing import import_model

    folder = import_model(
        arguments.source,
        card_id=arguments.card_id,
        folds=arguments.folds.split(",") if arguments.folds else None,
        licence=arguments.licence,
        trust=arguments.trust,
        replace=arguments.replace,
    )
    return _say_installed(arguments, folder)


def _write_initial(arguments: argparse.Namespace) -> int:
    from SegDLEngine.models.importers.initial import write_initial

    if len(arguments.source) != 1:
        raise InputError("--initial takes the weights of one file.", code="usage")
    try:
        options = json.loads(arguments.options or "{}")
    except ValueError as error:
        raise InputError(f"--options is not JSON: {error}.", hint='Write such as {"filters": 32}.') from error
    if not isinstance(options, dict):
        raise InputError("--options is no JSON object.", hint='Write such as {"filters": 32}.')
    found = write_initial(
        Path(arguments.source[0]),
        Path(arguments.initial),
        arguments.network or "genesis_unet2d",
        options,
        trust=arguments.trust,
    )
    _say(arguments, found, f"Wrote {found['file']}: {found['parameters']:,} numbers to start from.")
    return 0


def _say_installed(arguments: argparse.Namespace, folder: Path) -> int:
    from SegDLEngine.models.catalogue import load_model

    model = load_model(folder)
    _say(arguments, {**model.row(), "folder": str(folder)}, f"Installed {model.id} {model.card.version}.")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from SegDLEngine.models.package import remove

    folder = remove(arguments.model)
    _say(arguments, {"id": arguments.model, "folder": str(folder)}, f"Removed {arguments.model}.")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from SegDLEngine.models.catalogue import load_model
    from SegDLEngine.models.package import verify

    found = verify(load_model(arguments.model).folder)
    _say(
        arguments,
        found,
        f"{found['id']} {found['version']} is sound: {found['tensors']} tensors, "
        f"{found['parameters']:,} parameters, SHA-256 {found['sha256']}.",
    )
    return 0


def _say(arguments: argparse.Namespace, data: dict, text: str) -> None:
    print(json.dumps(data, ensure_ascii=False) if arguments.json else text)


_ACTIONS = {
    "list": _list,
    "show": _show,
    "install": _install,
    "import": _import,
    "remove": _remove,
    "verify": _verify,
}
