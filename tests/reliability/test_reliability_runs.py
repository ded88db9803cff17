"""Kills and long runs, by the scripts that do them (kills.py, soak.py)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_few_kills_lose_nothing() -> None:
    reported = run("kills.py", "convert", "--kills", "4")
    assert re.search(
        r"together: 4 kills landed in \d+ runs: 0 files lost, 0 different, 0 left behind", reported
    )


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_kills_lose_nothing() -> None:
    assert "together: 100 kills landed" in run("kills.py", "--kills", "100", "--seed", "1")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_memory_does_not_grow_and_openvdb_reads_every_frame() -> None:
    reported = run("soak.py")
    assert "2-D: 500 frames, 500 as OpenVDB reads them" in reported
    assert "3-D: 100 frames, 100 as OpenVDB reads them" in reported
