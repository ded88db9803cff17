"""Every reader against mutants of good files (fuzz.py): a few in the fast tier, 10,000 each in the slow one."""

import fuzz
import pytest


@pytest.mark.parametrize("name", fuzz.READERS)
def test_some_mutants_are_read_or_refused(name):
    findings, refused = fuzz.fuzz(name, 120, seed=10**6)
    assert not findings, findings
    assert 20 < refused < 120  # the mutants are neither all harmless nor all hopeless


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", fuzz.READERS)
def test_ten_thousand_mutants_are_read_or_refused(name):
    findings, _ = fuzz.fuzz(name, 10_000)
    assert not findings, findings


def test_what_is_not_handled_is_found(monkeypatch, tmp_path):
    """The fuzzer sees a wrong exception, a hang, a file written, and too much memory."""
    script = tmp_path / "bad.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(fuzz.Path(fuzz.__file__).parent)!r})\n"
        "import fuzz, pathlib, random, numpy as np\n"
        "calls = [0]\n"
        "def bad(path, max_bytes):\n"
        "    if path.parent.name == 'good': return\n"
        "    calls[0] += 1\n"
        "    if calls[0] == 1: raise KeyError('a')\n"
        "    if calls[0] == 2:\n"
        "        while True: pass\n"
        "    if calls[0] == 3: pathlib.Path('new').touch()\n"
        "    if calls[0] == 4: np.zeros(1 << 30, np.uint8)\n"
        "fuzz.READERS['pvd'] = bad\n"
        "fuzz.CPU_SECONDS = 0.2\n"
        "fuzz.main()\n"
    )
    monkeypatch.setattr(fuzz, "__file__", str(script))
    findings, _ = fuzz.fuzz("pvd", 5)
    assert [finding["mutant"] for finding in findings] == [0, 1, 2, 3]
    for finding, what in zip(findings, ["KeyError", "TooSlow", "wrote", "MemoryError"], strict=True):
        assert what in finding["what"]
