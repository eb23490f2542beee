"""Recognise what the user brings, and install it as a model: as a whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from SegDLEngine.errors import InputError
from SegDLEngine.models.importers.imported import Imported, refused
from SegDLEngine.models.importers.monai_bundle import import_bundle, is_bundle
from SegDLEngine.models.importers.nnunet import import_results, is_results
from SegDLEngine.models.importers.plain import import_plain
from SegDLEngine.models.importers.states import EXTENSIONS
from SegDLEngine.models.package import install, read_card
from SegDLEngine.models.trust import trust as remember
from SegDLEngine.models.writing import write_package

# A results folder may hold five folds; more than this is no model.
_LARGEST = 16 << 30
_MOST_ENTRIES = 10_000


def import_model(
    sources: Sequence[str | Path],
    *,
    card_id: str | None = None,
    folds: Sequence[str] | None = None,
    licence: str | Path | None = None,
    trust: bool = False,
    replace: bool = False,
    models_folder: str | Path | None = None,
) -> Path:
    """Install ``sources`` as a model of the user's models folder and return the installed folder.

    ``sources``: one file of weights or several, the folds of an ensemble; or a MONAI bundle or an nnU-Net
    results folder, each also as zip.  ``card_id``: the model whose weights they are, or the id of the new
    one; ``folds`` of an nnU-Net results folder; ``licence``: a file with the terms; ``trust``: a TorchScript
    archive, which is a program, may be opened and run.  Raises ModelError or InputError that names the file.
    """
    paths = [Path(source) for source in sources]
    for path in paths:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}.", hint="Check the path.")
    text = _licence_text(licence)
    with contextlib.ExitStack() as stack:
        imported = _read(paths, card_id, folds, text, trust, stack)
        staging = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segdl-import-")))
        package = staging / "package"
        write_package(imported.states, imported.card, package, licence_text=imported.licence_text)
        folder = install(package, replace=replace, models_folder=models_folder)
    if trust:
        remember(read_card(folder), models_folder)
    return folder


def _read(
    paths: list[Path],
    card_id: str | None,
    folds: Sequence[str] | None,
    licence: str | None,
    trust: bool,
    stack: contextlib.ExitStack,
) -> Imported:
    single = paths[0] if len(paths) == 1 else None
    if single is not None and (single.is_dir() or single.suffix.lower() == ".zip"):
        folder = single if single.is_dir() else _unpacked(single, stack)
        for root in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
            if is_bundle(root):
                return import_bundle(root, card_id, licence, trust=trust)
            if is_results(root):
                return import_results(root, card_id, licence, folds)
        raise refused(
            single,
            "it is neither a MONAI bundle (configs/metadata.json) nor an nnU-Net results folder (plans.json"
            " and fold_*)",
            "A SegDL package (model.json) is installed with segdl models install.",
        )
    for path in paths:
        if path.suffix.lower() not in EXTENSIONS:
            raise refused(path, "its extension is not one of weights", f"Known: {', '.join(EXTENSIONS)}.")
    return import_plain(paths, card_id, licence, trust=trust)


def _unpacked(archive: Path, stack: contextlib.ExitStack) -> Path:
    """The folder of a zip, unpacked for the time of the import; names never lead out of it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segdl-unpacked-")))
    try:
        with zipfile.ZipFile(archive) as source:
            for entry, path in _entries(archive, source):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open(entry) as stream, target.open("wb") as sink:
                    shutil.copyfileobj(stream, sink, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise refused(archive, f"it cannot be unpacked ({error})", "Get the file again.") from error
    return folder


def _entries(archive: Path, source: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    entries = [entry for entry in source.infolist() if not entry.is_dir()]
    if len(entries) > _MOST_ENTRIES or sum(entry.file_size for entry in entries) > _LARGEST:
        raise refused(archive, "it is larger than any model", "Is it the right file?")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
            raise refused(archive, f"its entry '{entry.filename}' is not allowed", "Get the file again.")
        yield entry, path


def _licence_text(path: str | Path | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The licence {path} cannot be read: {error}.", hint="Give a text file.") from error
