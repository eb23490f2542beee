"""The main job from a fresh clone: ``python3 Testing/demo.py [CT] [--output FOLDER]``.

Makes the project's own environment, segments the tumour in a chest CT with the shipped model and writes
segments, uncertainty, lesion table, scene and picture.  Without a CT it generates a thorax phantom.
Research software, not for clinical use.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from entry.environment import ensure_environment, process_environment
from entry.system_libraries import ensure_libraries


def main() -> int:
    python = ensure_environment("host")
    variables = process_environment(ensure_libraries())
    script = Path(__file__).resolve().parent / "demo_scene.py"
    return subprocess.run([str(python), str(script), *sys.argv[1:]], env=variables, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(3)
