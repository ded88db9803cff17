"""Whether OpenVDB's own bindings are on this machine: they belong to the system's Python."""

import shutil
import subprocess

import pytest

PYTHON = "/usr/bin/python3"


def has_openvdb():
    """True if the system's Python imports pyopenvdb."""
    command = [PYTHON, "-c", "import pyopenvdb"]
    return bool(shutil.which(PYTHON)) and subprocess.run(command, capture_output=True).returncode == 0


needs_openvdb = pytest.mark.skipif(
    not has_openvdb(), reason="needs OpenVDB's bindings: apt-get install python3-openvdb"
)
