"""Makes the project's own Python environment from pyproject.toml and the constraints file.

Everything lands in ``.segdl`` inside the clone; nothing outside is touched.  The environment is reused as
long as the interpreter, pyproject.toml and the constraints stay the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".segdl"
CONSTRAINTS = ROOT / "Testing" / "constraints.txt"
SOURCE_FOLDERS = (ROOT / "SegDL", ROOT / "SegDLTraining", ROOT / "Testing")


def requirements(extra: str) -> list[str]:
    """The third-party requirements of the project and of one extra, own extras resolved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = list(project["dependencies"])
    waiting = [extra]
    while waiting:
        for requirement in project["optional-dependencies"][waiting.pop()]:
            own = re.fullmatch(r"segdl\[(\w+)\]", requirement)
            if own:
                waiting.append(own.group(1))
            else:
                found.append(requirement)
    return found


def ensure_environment(extra: str) -> Path:
    """The Python of an environment that has the requirements; made on the first call (minutes)."""
    wanted = requirements(extra)
    key = hashlib.sha256(
        "\n".join([sys.version, str(ROOT), *wanted, CONSTRAINTS.read_text(encoding="utf-8")]).encode()
    ).hexdigest()
    folder = STATE / f"environment-{extra}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "segdl-key"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        return python
    print(f"Making the environment in {folder.relative_to(ROOT)} (once, a few minutes) ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    STATE.mkdir(exist_ok=True)
    _run(
        [sys.executable, "-m", "venv", str(folder)], "python3 -m venv failed; on Debian install python3-venv."
    )
    # torch first and alone: with it in place no later requirement makes pip look for another build of it.
    for group in (["torch"], wanted):
        _run(
            [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS), *group],
            "pip could not install the requirements; check the network or the proxy and run it again.",
        )
    stamp.write_text(key, encoding="utf-8")
    return python


def _run(command: list[str], remedy: str) -> None:
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(f"{remedy} (exit code {code})")


def process_environment(libraries: dict[str, str]) -> dict[str, str]:
    """The variables of a child process: our sources on the path, the fetched libraries, no display."""
    variables = dict(os.environ, **libraries)
    variables["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in SOURCE_FOLDERS)
    variables.setdefault("QT_QPA_PLATFORM", "offscreen")
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    return variables
