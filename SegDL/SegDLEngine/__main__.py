"""``python -m SegDLEngine`` is the command ``segdl``."""

import sys

from SegDLEngine.command_line.main import main

if __name__ == "__main__":
    sys.exit(main())
