"""Documents, folders and patterns from elsewhere against mutants of good ones (fuzz_documents.py)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzz_documents.py")


def fuzz(*arguments: str) -> dict[str, tuple[int, int]]:
    """How many mutants were refused, and how many were not handled, by reader."""
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)
    reported = re.findall(
        r"^(\w+): \d+ mutants, (\d+) refused, (\d+) not handled$", done.stdout, re.MULTILINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (int(refused), int(bad)) for name, refused, bad in reported}


def test_some_mutants_are_read_or_refused() -> None:
    readers = ("regions", "run", "pattern", "request", "chunk")
    for name, (refused, bad) in fuzz(*readers, "--count", "80", "--seed", "77").items():
        assert bad == 0 and (0 if name == "run" else 20) < refused < 80, name


@pytest.mark.slow
@pytest.mark.timeout(20_000)
def test_ten_thousand_mutants_are_read_or_refused() -> None:
    assert all(bad == 0 for _, bad in fuzz("all").values())
