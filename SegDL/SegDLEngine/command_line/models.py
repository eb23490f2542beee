"""``segdl models``: list, show, install, remove and verify model packages."""

from __future__ import annotations

import argparse
import json
import sys

from SegDLEngine.command_line.model_texts import print_model, print_models


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("models", help="list, show, install, remove or verify models")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="one row for each model")
    show = actions.add_parser("show", help="the card of a model")
    show.add_argument("model", help="id, package folder or zip")
    install = actions.add_parser("install", help="check a package and copy it to your models")
    install.add_argument("package", help="folder or zip")
    install.add_argument("--replace", action="store_true", help="exchange another version of the model")
    remove = actions.add_parser("remove", help="remove a model that you installed")
    remove.add_argument("model", help="id")
    verify = actions.add_parser("verify", help="check files, SHA-256, card, and that the weights fit")
    verify.add_argument("model", help="id, package folder or zip")
    for action in (listing, show, install, remove, verify):
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
    from SegDLEngine.models.catalogue import load_model
    from SegDLEngine.models.package import install

    folder = install(arguments.package, replace=arguments.replace)
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


_ACTIONS = {"list": _list, "show": _show, "install": _install, "remove": _remove, "verify": _verify}
