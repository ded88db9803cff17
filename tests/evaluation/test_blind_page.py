"""The blind page in a real browser: it hides names until the end, and counts what a person chose."""

from __future__ import annotations

import base64
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
METHODS = ("ours", "wavelet", "cubic")
# Chooses, for each scene, the panel with the movie of `ours`, and marks that of `cubic` as flawed.
PERSON = """<script>
function answer() {
  const panels = [...document.querySelectorAll("figure")];
  if (!panels.length) { document.title = "done"; return; }
  document.title = panels.map((panel) => panel.innerText).join();
  const of = (name) => panels.find((panel) => panel.querySelector("video").src.endsWith(btoa(name)));
  const next = [...document.querySelectorAll("button")].find((button) => button.textContent === "next");
  if (next.disabled !== true || document.title.includes("ours")) return;
  of("ours").querySelector("button").click();
  of("cubic").querySelector("input").click();
  next.click();
  answer();
}
setTimeout(answer, 100);
</script></body>"""


@pytest.fixture(scope="module")
def page() -> str:
    """Of three scenes; the last name would end the script."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        blind: dict[str, Any] = runpy.run_path(str(BENCHMARKS / "blind.py"))
    finally:
        sys.path.remove(str(BENCHMARKS))
    scenes = [
        {"name": name, "movies": {m: f"data:video/mp4;base64,{_base64(m)}" for m in (*METHODS, "reference")}}
        for name in ("one", "two", "</script><script>alert(1)</script>")
    ]
    text: str = blind["page"](scenes, METHODS, {"data": "synthetic"})
    return text


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_page_stands_alone_and_names_are_only_names(page: str) -> None:
    assert page.count("<script>") == 1 and "__GIVEN__" not in page and "\\u003c/script>" in page
    assert not re.search(r"(src|href)=[\"']|https?://", page)


@pytest.mark.clients
@pytest.mark.timeout(400)
def test_chromium_counts_what_was_chosen(page: str, tmp_path: Path) -> None:
    if not shutil.which("chromium"):
        pytest.skip("needs chromium")
    driven = tmp_path / "blind.html"
    driven.write_text(page.replace("</body>", PERSON), encoding="utf-8")
    run = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=5000", "--dump-dom", driven.as_uri()],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    rows = re.findall(r"<tr><th>(\w+)</th><td>(\d) of 3</td><td>(\d) of 3</td></tr>", run.stdout)
    assert rows == [("ours", "3", "0"), ("wavelet", "0", "0"), ("cubic", "0", "3")]
