"""Runs a script as ``Slicer --no-main-window --python-script script.py -- arguments`` does."""

from __future__ import annotations

import runpy
import shutil
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host import application, requirements

USAGE = """usage: python -m host [options] [--python-script] script.py [[--] arguments ...]

Runs a script of 3D Slicer on the scene of slicer-core, without the application.

options, those of Slicer that matter here:
  --testing                       end after the script; an exception in it gives exit code 1
  --additional-module-paths DIR   load the scripted modules (*.py) in this folder; may be repeated
  --no-main-window --no-splash --disable-cli-modules --ignore-slicerrc   accepted, always so here
  --no-qt                         leave Qt out, also where it could be loaded"""

IGNORED = frozenset({"--no-main-window", "--no-splash", "--disable-cli-modules", "--ignore-slicerrc"})
PATHS = frozenset({"--additional-module-paths", "--additional-module-path"})


class UsageError(ValueError):
    """The command line is not understood."""


@dataclass
class CommandLine:
    """What the command line says."""

    script: str
    arguments: list[str] = field(default_factory=list)
    module_paths: list[str] = field(default_factory=list)
    testing: bool = False
    qt: bool = True


def parse(words: list[str]) -> CommandLine:
    """Read the words behind ``python -m host``.

    Raises:
        UsageError: an unknown option, or no script.
    """
    line = CommandLine("")
    waiting = list(words)
    while waiting and not line.script:
        word = waiting.pop(0)
        if word in PATHS or word == "--python-script":
            if not waiting:
                raise UsageError(f"{word} needs a value")
            value = waiting.pop(0)
            if word in PATHS:
                line.module_paths.append(value)
            else:
                line.script = value
        elif word == "--testing":
            line.testing = True
        elif word == "--no-qt":
            line.qt = False
        elif word.startswith("-") and word not in IGNORED:
            raise UsageError(f"{word} is not understood")
        elif word not in IGNORED:
            line.script = word
    if not line.script:
        raise UsageError("the script is missing")
    line.arguments = waiting[1:] if waiting[:1] == ["--"] else waiting
    return line


def main(words: list[str]) -> int:
    """Run the script; returns the exit code that Slicer would give, 2 for a wrong command line."""
    if words in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    try:
        line = parse(words)
        if not Path(line.script).is_file():
            raise UsageError(f"{line.script} is not a file")
        missing = [path for path in line.module_paths if not Path(path).is_dir()]
        if missing:
            raise UsageError(f"{missing[0]} is not a folder")
    except UsageError as error:
        print(f"host: {error}\n{USAGE}", file=sys.stderr)
        return 2
    return run(line)


def run(line: CommandLine) -> int:
    """Start a host without a main window and run the script in it; returns the exit code."""
    app = _start(line)
    for path in line.module_paths:
        load_modules(Path(path))
    app.startup_completed()
    code = _execute(line)
    if code is None and not line.testing:
        code = _event_loop(app)
    return code or 0


def load_modules(folder: Path) -> None:
    """Load every scripted module of a folder, without its panel; each ``.py`` file in it is taken for one."""
    from host.modules import LoadedModule

    for path in sorted(folder.glob("*.py")):
        LoadedModule(path.resolve())


def _start(line: CommandLine) -> Any:
    requirements.choose_opengl_window()
    problem = requirements.qt_problem() if line.qt else "--no-qt"
    if problem:
        print(f"host: running without Qt ({problem})", file=sys.stderr)
        return application.start_plain(testing=line.testing)
    from host import qt_application

    return qt_application.start(testing=line.testing, main_window=False)


def _execute(line: CommandLine) -> int | None:
    """Run the script file; returns the exit code that it asked for, None when it asked for none."""
    sys.argv = [line.script, *line.arguments]
    sys.executable = shutil.which("PythonSlicer") or ""  # as inside Slicer: no plain Python
    sys.path.insert(0, str(Path(line.script).resolve().parent))
    try:
        runpy.run_path(line.script, run_name="__main__")
    except SystemExit as request:
        return _code_of(request)
    except Exception:
        traceback.print_exc()
        if not line.testing:
            print("host: in Slicer the application would stay open after this exception", file=sys.stderr)
        return 1
    app = application.running()
    return app.exit_code() if app else None


def _code_of(request: SystemExit) -> int:
    if request.code is None or isinstance(request.code, int):
        return request.code or 0
    print(request.code, file=sys.stderr)
    return 1


def _event_loop(app: Any) -> int:
    """Wait for ``slicer.util.exit``, as an application does that was started without ``--testing``."""
    if not hasattr(app, "exec"):
        return 0
    print("host: the script has ended without slicer.util.exit(code); waiting for it", file=sys.stderr)
    return int(app.exec())
