"""``segdl models``: list, show, install, remove and verify model packages."""

from __future__ import annotations

import argparse
import json
import sys

from SegDLEngine.command_line.tables import print_table


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
    print_table(
        ("id", "title", "inputs", "labels", "installed", "licence"),
        [
            (
                row["id"],
                row["title"],
                ", ".join(row["inputs"]),
                ", ".join(row["labels"]),
                "yes" if row["installed"] else "no weights",
                row["licence"],
            )
            for row in rows
        ],
    )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from SegDLEngine.models.catalogue import load_model

    model = load_model(arguments.model, need_weights=False)
    card = model.card
    if arguments.json:
        print(json.dumps(card.data, indent=1, ensure_ascii=False))
        return 0
    lines = {
        "model": f"{card.id} {card.version}: {card.title}",
        "finds": card.data["task"],
        "description": card.data["description"],
        "inputs": ", ".join(
            f"{entry['name']} ({entry['modality']}, {entry['unit']})" for entry in card.inputs
        ),
        "labels": ", ".join(f"{label['value']} {label['name']}" for label in card.labels),
        "network": f"{card.network['name']} {json.dumps(card.network['options'])}",
        "licence": card.licence["spdx"],
        "use": card.data["intended_use"],
        "weights": model.sha256 if model.installed else "not installed",
        "folder": str(model.folder),
    }
    for name, text in lines.items():
        print(f"{name:<12} {text}")
    for result in card.data.get("results", []):
        print(
            f"{'result':<12} {result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)}"
        )
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
