"""Model packages: pack, install, verify and remove.

A package is a folder or a zip with ``model.json``, ``weights.safetensors`` (of an ensemble
``weights-1.safetensors`` and so on), the licence and, if wanted, a ``README.md`` and ``thumbnail.png``;
nothing else is accepted, and nothing in it is executed.  Installing writes below the user's models folder
only: the files are copied into a hidden folder beside the final one, verified there, and moved into place by
one rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from SegDLEngine.errors import InputError, ModelError
from SegDLEngine.models.card import CARD_FILE, CARD_LIMIT, ModelCard, load_card, parse_card
from SegDLEngine.models.weights import check_network

WEIGHTS_FILE = "weights.safetensors"
_WEIGHTS_LIMIT = 2 << 30
_SIZE_LIMITS = {
    CARD_FILE: CARD_LIMIT,
    WEIGHTS_FILE: _WEIGHTS_LIMIT,
    "README.md": 1 << 20,
    "thumbnail.png": 5 << 20,
}
_PATTERN_LIMITS = {
    re.compile(r"LICENSE[A-Za-z0-9._-]*"): 1 << 20,
    re.compile(r"weights-[1-9][0-9]?\.safetensors"): _WEIGHTS_LIMIT,
}
_ENTRY_LIMIT = 64
_CHUNK = 1 << 20
_STALE_S = 24 * 3600


def user_models_folder() -> Path:
    """Where installed models lie: SEGDL_MODELS, else the per-user data folder of the platform."""
    chosen = os.environ.get("SEGDL_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        return Path(base) / "SegDL" / "models"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "SegDL" / "models"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "segdl" / "models"


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def read_card(package: str | Path) -> ModelCard:
    """The card of a folder or zip; raises ModelError when it is no package."""
    package = Path(package)
    if package.is_dir():
        return load_card(package)
    with _open_zip(package) as (archive, entries):
        if CARD_FILE not in entries:
            raise _broken(package, f"it has no {CARD_FILE}")
        return parse_card(_read_entry(package, archive, entries[CARD_FILE]), f"{package}:{CARD_FILE}")


def read_weights(package: str | Path, card: ModelCard, fold: int = 0) -> bytes:
    """The bytes of the weights (of an ensemble those of the numbered fold), equal to the card's SHA-256.

    Raises ModelError when they are absent or altered.
    """
    package = Path(package)
    if not card.weight_files:
        raise missing_weights(card)
    name = card.weight_files[fold]["file"]
    try:
        if package.is_dir():
            content = (package / name).read_bytes()
        else:
            with _open_zip(package) as (archive, entries):
                if name not in entries:
                    raise _broken(package, f"it has no {name}")
                content = _read_entry(package, archive, entries[name])
    except OSError as error:
        raise _broken(package, f"{name} cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != card.weight_files[fold]["sha256"]:
        raise _broken(package, f"the SHA-256 of {name} is not the one of the card")
    return content


def missing_weights(card: ModelCard) -> ModelError:
    """The error of a model whose card is here but whose weights are not."""
    return ModelError(
        f"The weights of model '{card.id}' are not installed.",
        hint=f"segdl models show {card.id} tells how to install them.",
        code="weights",
    )


def verify(package: str | Path) -> dict[str, Any]:
    """Check a folder or zip completely: files, card, steps, SHA-256, and that the weights fit the network.

    Returns ``{"id", "version", "sha256", "tensors", "parameters"}``, the numbers of one network; raises
    ModelError at the first fault.
    """
    package = Path(package)
    present = _list_folder(package) if package.is_dir() else []
    card = read_card(package)
    if not card.weight_files:
        raise missing_weights(card)
    for name in present:
        if name.endswith(".safetensors") and name not in [entry["file"] for entry in card.weight_files]:
            raise _broken(package, f"'{name}' does not belong to it, its card names other weights")
    for fold in range(len(card.weight_files)):
        tensors, parameters = check_network(card, read_weights(package, card, fold))
    return {
        "id": card.id,
        "version": card.version,
        "sha256": card.sha256,
        "tensors": tensors,
        "parameters": parameters,
    }


def install(source: str | Path, *, replace: bool = False, models_folder: str | Path | None = None) -> Path:
    """Install a folder or zip into the user's models folder and return the installed folder.

    Another version (or other weights) of the same id is replaced only with ``replace``.  Raises ModelError
    for a package that is not sound and InputError when the models folder cannot be written.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"There is no model package {source}.", hint="Give a folder or a .zip file.")
    target_root = Path(models_folder) if models_folder else user_models_folder()
    card = read_card(source)
    _refuse_other_version(card, target_root, replace)
    try:
        target_root.mkdir(parents=True, exist_ok=True)
        _remove_stale(target_root)
        staging = Path(tempfile.mkdtemp(prefix=".installing-", dir=target_root))
    except OSError as error:
        raise InputError(
            f"The models folder {target_root} cannot be written: {error.strerror}.",
            hint="Choose another one with the environment variable SEGDL_MODELS.",
        ) from error
    try:
        _copy(source, staging)
        verify(staging)
        if not (staging / card.licence["file"]).is_file():
            raise _broken(source, f"its licence file {card.licence['file']} is missing")
        staging.chmod(0o755)
        return move_into_place(staging, target_root / card.id)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def remove(model_id: str, *, models_folder: str | Path | None = None) -> Path:
    """Remove a model that the user installed and return the folder it had; shipped models stay."""
    root = Path(models_folder) if models_folder else user_models_folder()
    folder = root / model_id
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", model_id) or not (folder / CARD_FILE).is_file():
        raise ModelError(
            f"Model '{model_id}' is not among the installed models in {root}.",
            hint="Shipped models cannot be removed; segdl models list shows what there is.",
        )
    grave = Path(tempfile.mkdtemp(prefix=".removing-", dir=root))
    os.replace(folder, grave / model_id)
    shutil.rmtree(grave)
    return folder


def pack(folder: str | Path, archive: str | Path) -> Path:
    """Write the package ``folder`` as a zip, after verifying it; equal folders give equal bytes."""
    folder, archive = Path(folder), Path(archive)
    verify(folder)
    names = _list_folder(folder)
    handle, partial = tempfile.mkstemp(prefix=".packing-", dir=archive.parent or Path("."))
    try:
        with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w") as target:
            for name in names:
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                entry.compress_type = (
                    zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
                )
                with open(folder / name, "rb") as content, target.open(entry, "w", force_zip64=True) as sink:
                    shutil.copyfileobj(content, sink, _CHUNK)
        os.chmod(partial, 0o644)
        os.replace(partial, archive)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return archive


def _broken(package: Path, reason: str) -> ModelError:
    return ModelError(f"The model package {package} is broken: {reason}.", hint="Get the package again.")


def _limit(name: str) -> int | None:
    """Largest size in bytes of a file of a package; None for a name that does not belong into one."""
    matching = (limit for pattern, limit in _PATTERN_LIMITS.items() if pattern.fullmatch(name))
    return _SIZE_LIMITS.get(name) or next(matching, None)


def _list_folder(folder: Path) -> list[str]:
    """Names of the files of a package folder; raises ModelError for links and for what is not allowed."""
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            limit = _limit(entry.name)
            if limit is None or not entry.is_file(follow_symlinks=False):
                raise _broken(folder, f"'{entry.name}' does not belong into a package")
            if entry.stat(follow_symlinks=False).st_size > limit:
                raise _broken(folder, f"'{entry.name}' is larger than {limit} bytes")
            names.append(entry.name)
    if CARD_FILE not in names:
        raise _broken(folder, f"it has no {CARD_FILE}")
    return sorted(names)


@contextlib.contextmanager
def _open_zip(package: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    try:
        with zipfile.ZipFile(package) as archive:
            yield archive, _list_zip(package, archive)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise _broken(package, f"it is no sound zip file ({error})") from error
    except OSError as error:
        raise ModelError(f"The model package {package} cannot be read: {error.strerror}.") from error


def _list_zip(package: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Entries by plain name.  All lie at the top or in one folder, which is stripped; paths never survive."""
    infos = [info for info in archive.infolist() if not _is_mac_extra(info.filename)]
    if len(infos) > _ENTRY_LIMIT:
        raise _broken(package, f"it has more than {_ENTRY_LIMIT} entries")
    entries: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in infos:
        path = PurePosixPath(info.filename)
        if info.is_dir() and len(path.parts) == 1 and path.parts[0] not in ("..", "/"):
            continue
        mode = info.external_attr >> 16
        plain = stat.S_IFMT(mode) in (0, stat.S_IFREG) and not info.flag_bits & 1
        if not plain or len(path.parts) > 2 or ".." in path.parts or _limit(path.name) is None:
            raise _broken(package, f"its entry '{info.filename}' does not belong into a package")
        if "\\" in info.filename or path.is_absolute() or path.name in entries:
            raise _broken(package, f"its entry '{info.filename}' is not allowed")
        folders.add(str(path.parent))
        entries[path.name] = info
    if len(folders) > 1:
        raise _broken(package, "its files lie in several folders")
    return entries


def _is_mac_extra(name: str) -> bool:
    """True for the entries that the Finder adds to each zip; they are never read."""
    return name.startswith("__MACOSX/") or name.split("/")[-1] == ".DS_Store"


def _read_entry(package: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The content of an entry; what it unpacks to is counted, because the directory may lie about it."""
    limit = _limit(PurePosixPath(info.filename).name) or 0
    with archive.open(info) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise _broken(package, f"its entry '{info.filename}' is larger than {limit} bytes")
    return content


def _copy(source: Path, staging: Path) -> None:
    if source.is_dir():
        for name in _list_folder(source):
            with open(source / name, "rb") as stream:
                _write(staging / name, stream, source)
        return
    with _open_zip(source) as (archive, entries):
        for name, info in entries.items():
            with archive.open(info) as stream:
                _write(staging / name, stream, source)


def _write(path: Path, stream: IO[bytes], source: Path) -> None:
    limit, written = _limit(path.name) or 0, 0
    with open(path, "xb") as sink:
        while block := stream.read(_CHUNK):
            written += len(block)
            if written > limit:
                raise _broken(source, f"'{path.name}' is larger than {limit} bytes")
            sink.write(block)
        sink.flush()
        os.fsync(sink.fileno())


def _refuse_other_version(card: ModelCard, root: Path, replace: bool) -> None:
    if replace or not (root / card.id / CARD_FILE).exists():
        return
    present = load_card(root / card.id)
    if (present.version, present.weights) != (card.version, card.weights):
        raise ModelError(
            f"Model '{card.id}' is installed in version {present.version}; the package has {card.version}"
            f"{' with other weights' if present.version == card.version else ''}.",
            hint="Install with --replace to exchange it.",
        )


def move_into_place(staging: Path, target: Path) -> Path:
    """Rename a folder; an older version at ``target`` steps aside first and returns on failure."""
    if not target.exists():
        os.replace(staging, target)
        return target
    aside = Path(tempfile.mkdtemp(prefix=".replaced-", dir=target.parent))
    os.replace(target, aside / target.name)
    try:
        os.replace(staging, target)
    except BaseException:
        os.replace(aside / target.name, target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _remove_stale(root: Path) -> None:
    """Remove hidden folders that a killed installation left behind more than a day ago."""
    for folder in root.glob(".installing-*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder)
