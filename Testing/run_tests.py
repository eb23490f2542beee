"""Runs the whole suite from a fresh clone: ``python3 Testing/run_tests.py [pytest arguments]``.

Makes the project's own environment first (see entry/environment.py), checks format, lint and types, then
runs pytest.  The exit code is the first that is not zero.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from entry.environment import ROOT, ensure_environment, process_environment
from entry.system_libraries import ensure_libraries


def main() -> int:
    python = str(ensure_environment("test"))
    variables = process_environment(ensure_libraries())
    checks = [
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "mypy"],
        ["-m", "pytest", *sys.argv[1:]],
    ]
    codes = []
    for check in checks:
        print("$ python", " ".join(check), flush=True)
        codes.append(subprocess.run([python, *check], cwd=ROOT, env=variables, check=False).returncode)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
