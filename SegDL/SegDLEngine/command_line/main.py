"""The command ``segdl``: sub-commands, exit codes, and errors as one readable line.

Exit codes: 0 done, 1 the work failed (``batch``: some cases failed), 2 wrong usage or input, 3 cancelled.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

from SegDLEngine import __version__
from SegDLEngine.errors import Cancelled, InputError, SegDLError
from SegDLEngine.protocol import Reporter, line_sink

SUBCOMMANDS = ("models", "networks", "segment", "lungs", "batch", "evaluate", "worker")
FAILED = 1


class Parser(argparse.ArgumentParser):
    """Wrong usage is an InputError, reported like every other one."""

    def error(self, message: str) -> NoReturn:
        raise InputError(
            f"{message[:1].upper()}{message[1:]}.", hint=f"See {self.prog} --help.", code="usage"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``segdl`` with these arguments (those of the process by default) and return the exit code."""
    arguments = argparse.Namespace(debug="--debug" in (sys.argv[1:] if argv is None else argv))
    try:
        with _termination_cancels():
            build_parser().parse_args(argv, arguments)
            return arguments.run(arguments) or 0
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        return report_failure(Cancelled(), arguments)
    except BrokenPipeError:
        # Whoever read our output has closed it; Python must not try to flush it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ModuleNotFoundError as error:
        missing = SegDLError(
            f"The Python package '{error.name}' is missing.",
            hint="Install SegDL with its requirements: pip install .",
            code="missing-package",
        )
        return report_failure(missing, arguments)
    except Exception as error:
        return report_failure(error, arguments)


def build_parser() -> Parser:
    """The parser of all sub-commands; each module of ``SUBCOMMANDS`` has ``add_parser`` and ``run``."""
    parser = Parser(
        prog="segdl",
        description="Deep-learning tumour segmentation. Research software, not for clinical use.",
    )
    parser.add_argument("--version", action="version", version=f"segdl {__version__}")
    _add_debug(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name in SUBCOMMANDS:
        module = importlib.import_module(f"SegDLEngine.command_line.{name}")
        module.add_parser(commands)
        _add_debug(commands.choices[name])
        commands.choices[name].set_defaults(run=module.run)
    return parser


def report_failure(error: BaseException, arguments: argparse.Namespace) -> int:
    """Tell the error, as an event where events are printed, else as one line on stderr; the exit code."""
    if arguments.debug:
        traceback.print_exception(error)
    if getattr(arguments, "progress", None) == "json":
        Reporter(line_sink(sys.stdout)).error(error)
    elif isinstance(error, Cancelled):
        print("segdl: cancelled", file=sys.stderr)
    elif isinstance(error, SegDLError):
        print(f"segdl: error: {one_line(str(error))}", file=sys.stderr)
    else:
        text = f"{type(error).__name__}: {error}"
        print(f"segdl: error: {one_line(text)} (unexpected; --debug shows where)", file=sys.stderr)
    return error.exit_code if isinstance(error, SegDLError) else FAILED


def one_line(text: str) -> str:
    return " ".join(text.split())


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )


@contextlib.contextmanager
def _termination_cancels() -> Iterator[None]:
    """Within the block SIGTERM cancels as Ctrl-C does; a second signal ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def cancel(number: int, frame: FrameType | None) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)
        raise KeyboardInterrupt

    former = {name: signal.signal(name, cancel) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for name, handler in former.items():
            signal.signal(name, handler)
