"""The Blenders of this machine, and the extension among the add-ons of a user of theirs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ADDON = Path(__file__).parents[2] / "integrations" / "blender"
# Blender as a program, and as a Python module (FLUIDSR_BPY names its interpreter).
COMMANDS = {
    "blender": [
        "blender",
        "-b",
        "--factory-startup",
        "-noaudio",
        "-t",
        "2",
        "--python-exit-code",
        "1",
        "--python",
    ],
    "bpy": [os.environ.get("FLUIDSR_BPY", "")],
}


def run(command: Sequence[str], script: str, folder: Path, *more: str, seconds: float) -> Path:
    """Run `script` of this folder in Blender, with the program fluidsr, `folder` and what follows; the program."""
    if not shutil.which(command[0]):
        pytest.skip(f"needs {command[0] or 'FLUIDSR_BPY'}")
    (folder / "scripts" / "addons").mkdir(parents=True)
    (folder / "scripts" / "addons" / "fluidsr_addon").symlink_to(ADDON)
    program = folder / "fluidsr"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ADDON.parents[1]}" exec "{sys.executable}" -m fluidsr.cli "$@"\n'
    )
    program.chmod(0o755)
    own = {"BLENDER_USER_SCRIPTS": str(folder / "scripts"), "XDG_CONFIG_HOME": str(folder / "config")}
    environment = {**os.environ, **own}
    environment.pop("PYTHONPATH", None)  # of this interpreter, not of Blender's
    arguments = [*command, str(Path(__file__).parent / script), "--", str(program), str(folder), *more]
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=seconds, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return program
