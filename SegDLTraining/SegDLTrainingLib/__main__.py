"""``python -m SegDLTrainingLib`` is ``segdl-train``."""

from SegDLTrainingLib.command_line import main

if __name__ == "__main__":
    raise SystemExit(main())
