"""Output files as a transaction: all files of a job appear together at its end, or none does.

Files are staged in a hidden folder beside their target and moved by ``os.replace``.  A small guardian
process (``output_guardian.py``) keeps a journal of the changes.  An error, a cancel and a SIGKILL all undo
them the same way: the guardian's input ends without a commit, and it puts everything back.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from SegDLEngine.errors import InputError
from SegDLEngine.images.reading import existing_source
from SegDLEngine.output_guardian import COMMIT, DONE, remove_tree, undo

_GUARDIAN = Path(__file__).with_name("output_guardian.py")
_GUARDIAN_WAIT_S = 30


class OutputFiles:
    """The output files of one job, by name; a context manager that commits when the block ends well.

    Creating it checks that every target can be written, before any work is done, and writes nothing.
    A target's folder that is missing is created if its own parent exists, and removed again on failure.
    Raises InputError that names the file.
    """

    def __init__(
        self,
        targets: Mapping[str, str | os.PathLike[str] | None],
        inputs: Iterable[str | os.PathLike[str]] = (),
    ):
        self.files = {
            name: Path(os.path.abspath(Path(path).expanduser())) for name, path in targets.items() if path
        }
        _check_targets(self.files, [existing_source(path) for path in inputs])
        self._staged: dict[str, Path] = {}
        self._staging: dict[Path, Path] = {}
        self._journal: list[list] = []
        self._guardian: subprocess.Popen[bytes] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __enter__(self) -> OutputFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            self._commit()
        except BaseException:
            self._abort()
            raise

    def path(self, name: str) -> Path:
        """Where to write the file ``name`` now: in the staging folder, under its final file name."""
        if name not in self._staged:
            target = self.files[name]
            try:
                self._staged[name] = self._staging_folder(target.parent) / target.name
            except OSError as error:
                raise _unwritable(target, error) from error
        return self._staged[name]

    def _staging_folder(self, folder: Path) -> Path:
        if folder not in self._staging:
            self._start_guardian()
            if not folder.exists():
                self._note("folder", folder)
                folder.mkdir()
            staging = folder / f".segdl-{uuid.uuid4().hex}"
            self._note("staging", staging)
            staging.mkdir()
            self._staging[folder] = staging
        return self._staging[folder]

    def _start_guardian(self) -> None:
        """Where no process can be started, undoing still works for everything but a killed process."""
        if self._guardian is not None or not sys.executable:
            return
        with contextlib.suppress(OSError):
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARDIAN)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                cwd=os.path.abspath(os.sep),
            )

    def _note(self, action: str, *paths: Path | None) -> None:
        step = [action, *(None if path is None else str(path) for path in paths)]
        self._journal.append(step)
        self._tell(step)

    def _tell(self, step: Sequence[str | None]) -> None:
        """A guardian that somebody ended must not end the job as well."""
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(OSError):
                self._guardian.stdin.write(json.dumps(step).encode() + b"\n")
                self._guardian.stdin.flush()

    def _commit(self) -> None:
        for name, staged in self._staged.items():
            target = self.files[name]
            backup = staged.with_name(f".previous-{name}") if target.exists() else None
            try:
                self._note("move", staged, target, backup)
                if backup is not None:
                    os.replace(target, backup)
                os.replace(staged, target)
            except OSError as error:
                raise _unwritable(target, error) from error
        self._tell(COMMIT)
        self._end_guardian()
        for staging in self._staging.values():
            remove_tree(str(staging))

    def _abort(self) -> None:
        if not self._end_guardian():
            undo(self._journal)

    def _end_guardian(self) -> bool:
        """End the guardian's input and wait; True if it did its work."""
        if self._guardian is None:
            return False
        try:
            answer, _ = self._guardian.communicate(timeout=_GUARDIAN_WAIT_S)
        except subprocess.TimeoutExpired:
            return False
        return answer == DONE


def _check_targets(files: Mapping[str, Path], inputs: list[Path]) -> None:
    owners: dict[Path, str] = {}
    for name, target in files.items():
        if target in owners:
            raise InputError(
                f"The outputs '{owners[target]}' and '{name}' are one file: {target}.",
                hint="Give each its own file.",
            )
        owners[target] = name
        _check_place(target)
        for source in inputs:
            if target.exists() and source.exists() and os.path.samefile(target, source):
                raise InputError(
                    f"The output {target} is an input of this job.", hint="Write to another file."
                )


def _check_place(target: Path) -> None:
    if target.is_dir():
        raise InputError(f"The output {target} is a folder.", hint="Give a file name.")
    folder = target.parent
    if folder.exists() and not folder.is_dir():
        raise InputError(f"The output {target} cannot be written: {folder} is a file.")
    existing = folder if folder.exists() else folder.parent
    if not existing.is_dir():
        raise InputError(
            f"The output {target} cannot be written: there is no folder {existing}.",
            hint="Create the folder first.",
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(
            f"The output {target} cannot be written: no permission to write in {existing}.",
            hint="Choose another folder.",
        )


def _unwritable(target: Path, error: OSError) -> InputError:
    return InputError(
        f"The output {target} cannot be written: {error.strerror or error}.",
        hint="Check free space and permissions of the folder.",
    )
