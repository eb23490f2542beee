"""``segdl networks``: the networks of the registry and their documented variants."""

from __future__ import annotations

import argparse
import json

from SegDLEngine.command_line.tables import print_table


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("networks", help="list the networks and their numbers of parameters")
    parser.add_argument("--json", action="store_true", help="print rows as JSON")


def run(arguments: argparse.Namespace) -> int:
    from SegDLEngine.networks.registry import network_rows

    rows = list(network_rows())
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    print_table(
        ("name", "options", "trainable", "static", "input"),
        [
            (
                row["name"],
                ", ".join(f"{key}={value}" for key, value in row["options"].items()),
                f"{row['trainable']:,}",
                f"{row['static']:,}",
                "x".join(map(str, row["input"])),
            )
            for row in rows
        ],
    )
    return 0
