"""The documentation: links lead somewhere, named files exist, and the code of every tutorial runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
NOTEBOOKS = sorted((REPOSITORY / "docs" / "tutorials").glob("*.ipynb"))


PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((REPOSITORY / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


def test_the_answers_to_where_is_name_files() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("Where is ...?")[2].partition("Public are")[0]
    paths = re.findall(r"`([a-z_/]+\.py)`", table)
    assert (
        len(table.strip().splitlines()) >= 12 and len(paths) >= 10
    )  # a heading of two lines, and ten answers
    assert [path for path in paths if not (REPOSITORY / "fluidsr" / path).is_file()] == []


def test_the_checks_of_published_systems_exist() -> None:
    text = (REPOSITORY / "docs" / "systems.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    files = {
        path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")
    }
    assert len(named) >= 25
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in files.get(file, "")] == []


def code_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_there_are_tutorials_and_their_code_is_python() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first-plume", "own-pairs", "upsample-a-cache"]
    for notebook in NOTEBOOKS:
        compile(code_of(notebook), str(notebook), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs(notebook: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "MPLBACKEND": "agg",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:fluidsr", "-c", code_of(notebook)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]


def test_the_scripts_for_farms_run(tmp_path: Path) -> None:
    """With programs that stand for those of a cluster; each command of ours has the options that it is given."""
    import fluidsr.cli

    stubs = {
        "srun": '"$@"',
        "scontrol": "echo node1",
        "torchrun": 'while [ "$1" != -m ]; do shift; done; shift 2',
    }
    reported = "printf '%s\\n' \"$*\" >> $COMMANDS"
    for name in ("srun", "scontrol", "torchrun", "fluidsr", "dask"):
        then = reported if name in ("fluidsr", "torchrun") else ""
        stub = tmp_path / name
        stub.write_text(f"#!/bin/sh\n{stubs.get(name, '')}\n{then}\n")
        stub.chmod(0o755)
    job = {
        "ARRAY_TASK_ID": "3",
        "ARRAY_TASK_COUNT": "10",
        "CPUS_PER_TASK": "2",
        "JOB_NUM_NODES": "2",
        "JOB_ID": "7",
    }
    job["JOB_NODELIST"] = "node[1-2]"
    environment = {f"SLURM_{key}": value for key, value in job.items()}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "COMMANDS": str(tmp_path / "commands")}
    scripts = re.findall(r"```bash\n(.*?)```", (REPOSITORY / "docs" / "farm.md").read_text(), re.DOTALL)
    for script in scripts:
        subprocess.run(["bash", "-eum"], input=script, text=True, check=True, env=environment, timeout=20)
    commands = (tmp_path / "commands").read_text().splitlines()
    assert len(commands) == len(scripts) == 4
    assert "--frames 4-240x10" in commands[0]
    for command in commands:
        name, *arguments = command.split()
        fluidsr.cli.cli.get_command(None, name).make_context(name, arguments, obj=fluidsr.cli.Session())
