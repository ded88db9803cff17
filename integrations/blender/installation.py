# SPDX-License-Identifier: GPL-3.0-or-later
"""The installation of fluidsr into a Python environment of its own; it goes on beside Blender, and can be stopped."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 13)  # versions of Python that fluidsr runs on
VERSIONS = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"

_NAME = "environment_"
_LOG = "install.log"
_PATIENCE = 20.0  # s for a Python to tell its version, and for pip to stop
_MOST_TOLD = 80  # characters of a line of pip
_WINDOWS = sys.platform == "win32"


class Failed(Exception):
    """Nothing can be, or has been, installed; the text is for the user."""


def find_python(given=""):
    """The path of a Python that can make an environment for fluidsr: that of `given`, else Blender's own, else one on
    the search path. Raises Failed."""
    if given:
        problem = _problem(given)
        if problem:
            raise Failed(f"{given}: {problem}; give a Python {VERSIONS}")
        return given
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = [shutil.which(name) for name in (*names, "python3", "python")]
    # Where Blender is not built with a Python of its own, it may take itself for one.
    own = [sys.executable] if Path(sys.executable).name.lower().startswith("python") else []
    for program in dict.fromkeys([*own, *filter(None, found)]):
        if not _problem(program):
            return program
    raise Failed(f"no Python {VERSIONS} is here; install one, and set its path under Python")


def _problem(program):
    """Why a program cannot make an environment; empty where it can."""
    tell = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [program, "-I", "-c", tell], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "is not a Python that can be run"
    lines = done.stderr.strip().splitlines()
    if done.returncode and lines:
        return f"cannot make environments ({lines[-1]})"
    words = done.stdout.split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return "is not a Python that can be run"
    version = tuple(map(int, words))
    return "" if OLDEST <= version <= NEWEST else f"is version {version[0]}.{version[1]}"


def newest_program(parent):
    """The program fluidsr of the newest environment in the folder `parent`, or None."""
    programs = [program_of(folder) for folder in sorted(parent.glob(f"{_NAME}*"))]
    return next((program for program in reversed(programs) if program.exists()), None)


def program_of(folder):
    """The program fluidsr of an environment."""
    return folder / ("Scripts/fluidsr.exe" if _WINDOWS else "bin/fluidsr")


class Installation:
    """Makes an environment in the folder `parent`, and installs `source` (what pip takes) there, with the program
    `python`; `done` tells when it has ended.

    Then `program` is there, or `error` says in one line why not, or it was `cancelled`: nothing is left of the
    environment in both cases, and those before it are as they were. `text` says what goes on.
    """

    def __init__(self, python, source, parent):
        self.done, self.cancelled = False, False
        self.program, self.error, self.text = None, "", "starting"
        self._python, self._source, self._parent = python, source, Path(parent)
        self._started, self._process, self._lock = time.monotonic(), None, threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def seconds(self):
        """Since the beginning."""
        return time.monotonic() - self._started

    def cancel(self):
        """Stop; `done` comes soon after."""
        with self._lock:
            self.cancelled, self.text = True, "stopping"
            if self._process is not None:
                _end(self._process)

    def wait(self):
        """Return at the end."""
        self._thread.join()

    def _run(self):
        folder = self._parent / f"{_NAME}{time.strftime('%Y%m%d_%H%M%S')}"
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            with (self._parent / _LOG).open("w", encoding="utf-8") as log:
                self._do([self._python, "-I", "-m", "venv", str(folder)], log)
                python = folder / ("Scripts/python.exe" if _WINDOWS else "bin/python")
                self._do([str(python), "-I", "-m", "pip", *PIP, "--", self._source], log)
            if not program_of(folder).exists():
                raise Failed(f"{self._source}: holds no fluidsr; set Install From")
            self.program = program_of(folder)
        except Failed as error:
            self.error = "" if self.cancelled else str(error)
        except OSError as error:
            self.error = f"{error.filename}: cannot be written ({error.strerror})"
        finally:
            if self.program is None:
                shutil.rmtree(folder, ignore_errors=True)
            self.done = True

    def _do(self, arguments, log):
        """Run a program to its end. Raises Failed."""
        with self._lock:
            if self.cancelled:
                raise Failed("stopped")
            group = (
                {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
                if _WINDOWS
                else {"start_new_session": True}
            )
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                **group,
            )
        lines = []
        with self._process as process:
            for line in process.stdout:
                log.write(line)
                lines.append(line.strip())
                if line.strip() and not self.cancelled:
                    self.text = _message(line)
        with self._lock:
            self._process = None
        if process.returncode or self.cancelled:
            raise Failed(f"{problem_in(lines)}; all of the output is in {log.name}")


PIP = ["install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]


def problem_in(lines):
    """The line of pip's output that says what is wrong."""
    filled = [line for line in lines if line] or ["no message"]
    errors = [line for line in filled if line.upper().startswith("ERROR: ")]
    return (errors or filled)[-1]


def _message(line):
    """What a line of pip is about."""
    short = re.sub(r"\s*\(from .*", "", line.strip())
    return short if len(short) <= _MOST_TOLD else f"{short[:_MOST_TOLD]}..."


def _end(process):
    """End a program and what it has started."""
    with contextlib.suppress(OSError):
        if _WINDOWS:
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False
            )
            return
        os.killpg(process.pid, signal.SIGTERM)
        threading.Timer(_PATIENCE, _kill, [process]).start()


def _kill(process):
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def remove_others(program):
    """Remove the environments beside that of `program`."""
    own = program.parents[1]
    for folder in own.parent.glob(f"{_NAME}*"):
        if folder != own:
            shutil.rmtree(folder, ignore_errors=True)
