"""What turns a fresh clone into a running SegDL: environment, system libraries.  Standard library only."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older interpreter is told so
    sys.exit(f"SegDL's commands need Python 3.11 or newer; this is {sys.version.split()[0]}.")
