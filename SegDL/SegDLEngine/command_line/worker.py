"""``segdl worker``: the long-lived process that the panel talks to."""

from __future__ import annotations

import argparse


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "worker",
        help="serve jobs as JSON lines on the standard streams",
        description="Serve segmentation jobs: commands as JSON lines on stdin, events on stdout.",
    )
    parser.add_argument(
        "--idle-seconds",
        type=float,
        default=600.0,
        help="end after so many seconds without a job; 0 for never (default 600)",
    )


def run(arguments: argparse.Namespace) -> int:
    from SegDLEngine.worker_process import run_worker

    return run_worker(arguments.idle_seconds)
