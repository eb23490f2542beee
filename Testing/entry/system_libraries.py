"""The system libraries that Qt and VTK load at run time, fetched without root where they are absent.

Off-screen views need OpenGL in software (Mesa) and Qt needs a handful of small libraries; neither comes
with Python wheels.  On Debian and Ubuntu the packages are downloaded with apt into ``.segdl/libraries``
and only unpacked there: the system stays as it is, and no root is needed.  Elsewhere, or without a
network, the caller is told what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from host.requirements import choose_opengl_window, missing_libraries

from entry.environment import STATE

PACKAGES = (
    "libegl1",
    "libgl1",
    "libgl1-mesa-dri",
    "libxkbcommon0",
    "libfontconfig1",
    "libdbus-1-3",
    "fonts-dejavu-core",
)
# libglib2.0-0 was renamed in newer releases; the first name that apt knows is taken.
GLIB_NAMES = ("libglib2.0-0t64", "libglib2.0-0")
# The C library belongs to the running system; a second one beside it would crash every process.
NEVER_UNPACK = ("libc6_", "libc-bin_", "libgcc-s1_", "gcc-", "libstdc++6_", "zlib1g_")

LIBRARIES = STATE / "libraries"


def missing() -> list[str]:
    """Sonames that the loader cannot find; Mesa's software driver counts as one of them."""
    return missing_libraries() + ([] if choose_opengl_window() else ["libEGL_mesa.so.0"])


def ensure_libraries() -> dict[str, str]:
    """Environment variables under which Qt and VTK find their libraries; empty if the system has them.

    Returns an empty dictionary, with a line on the terminal, when they can neither be found nor fetched:
    the picture of the main job and the panel tests then say why they are skipped.
    """
    if os.name != "posix" or os.uname().sysname != "Linux":
        return {}
    absent = missing()
    if not absent:
        return {}
    if not (LIBRARIES / "complete").is_file():
        print(f"Missing on this system: {', '.join(absent)}.", flush=True)
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            print(
                "Install Mesa's EGL driver and these libraries to get pictures and panel tests.", flush=True
            )
            return {}
        print(
            "Fetching them with apt into .segdl/libraries (nothing is installed on the system) ...",
            flush=True,
        )
        problem = _fetch()
        if problem:
            print(f"They could not be fetched: {problem}", flush=True)
            return {}
    return _variables()


def _fetch() -> str:
    """Download and unpack the packages and what they need; returns what went wrong, or ''."""
    work = STATE / "apt"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(LIBRARIES, ignore_errors=True)
    for folder in (work / "lists" / "partial", work / "cache" / "archives" / "partial", LIBRARIES):
        folder.mkdir(parents=True)
    options = [
        f"-oDir::State::Lists={work / 'lists'}",
        f"-oDir::Cache={work / 'cache'}",
        "-oDebug::NoLocking=1",
        "-oAPT::Sandbox::User=",
        "-oDpkg::Post-Invoke=",
        "-oAPT::Update::Post-Invoke=",
        "-oAPT::Update::Post-Invoke-Success=",
        "-qq",
    ]
    problem = _apt(["apt-get", *options, "update"])
    if problem:
        return problem
    for glib in GLIB_NAMES:
        command = [
            "apt-get",
            *options,
            "-y",
            "--no-install-recommends",
            "--download-only",
            "install",
            *PACKAGES,
            glib,
        ]
        problem = _apt(command)
        if not problem:
            break
    else:
        return problem
    for package in sorted((work / "cache" / "archives").glob("*.deb")):
        if not package.name.startswith(NEVER_UNPACK):
            problem = _apt(["dpkg-deb", "-x", str(package), str(LIBRARIES)])
            if problem:
                return problem
    shutil.rmtree(work, ignore_errors=True)
    _write_font_configuration()
    (LIBRARIES / "complete").touch()
    return ""


def _apt(command: list[str]) -> str:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=dict(os.environ, LC_ALL="C")
    )
    if done.returncode == 0:
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"{command[0]} ended with exit code {done.returncode}"


def _write_font_configuration() -> None:
    fonts = LIBRARIES / "usr" / "share" / "fonts"
    (LIBRARIES / "fonts.conf").write_text(
        '<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n<fontconfig>'
        f"<dir>{fonts}</dir><dir>/usr/share/fonts</dir>"
        f"<cachedir>{LIBRARIES / 'font-cache'}</cachedir></fontconfig>\n",
        encoding="utf-8",
    )


def _variables() -> dict[str, str]:
    folders = [
        str(folder)
        for base in (LIBRARIES / "usr" / "lib", LIBRARIES / "lib")
        for folder in [*sorted(base.glob("*-linux-gnu*")), base]
        if folder.is_dir()
    ]
    if os.environ.get("LD_LIBRARY_PATH"):
        folders.append(os.environ["LD_LIBRARY_PATH"])
    drivers = next((Path(folder) / "dri" for folder in folders if (Path(folder) / "dri").is_dir()), None)
    variables = {
        "LD_LIBRARY_PATH": os.pathsep.join(folders),
        "__EGL_VENDOR_LIBRARY_DIRS": str(LIBRARIES / "usr" / "share" / "glvnd" / "egl_vendor.d"),
        "FONTCONFIG_FILE": str(LIBRARIES / "fonts.conf"),
        "XKB_CONFIG_ROOT": str(LIBRARIES / "usr" / "share" / "X11" / "xkb"),
    }
    if drivers:
        variables["LIBGL_DRIVERS_PATH"] = str(drivers)
    return variables
