"""Run as a script, also by torchrun: ``segdl``, with every beginning of a case in the file that RECORD names.

A line holds rank, restart and case.  The process whose rank and restart are in KILLED is killed in its case.
"""

import os
import signal
import sys

from SegDLEngine import batch
from SegDLEngine.command_line.main import main

_run_case = batch._run_case


def recorded(plan, case, *more):
    place = f"{os.environ['RANK']} {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    with open(os.environ["RECORD"], "a", encoding="utf-8") as record:
        record.write(f"{place} {case.name}\n")
    if place == os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)
    _run_case(plan, case, *more)


if __name__ == "__main__":
    batch._run_case = recorded
    raise SystemExit(main(sys.argv[1:]))
