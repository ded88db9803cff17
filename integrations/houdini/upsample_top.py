# SPDX-License-Identifier: Apache-2.0
"""Upsample a VDB cache in PDG: the script of a Python Script TOP, one work item for each range of frames.

Generate the items with a Wedge or Range Generate TOP that gives them the integer attributes `first` and `last`, for
example 1 and 25, 26 and 50. All items write into one folder, and each resumes where it was stopped.
"""

import json
import os
import subprocess
from pathlib import Path

CACHE = "$HIP/geo/smoke_$F4.vdb"  # as a File Cache SOP writes it
OUTPUT = "$HIP/geo/smoke_fine"
MODEL = "smoke3d-x4"


def command(cache, output, first, last, frame_rate):
    """`fluidsr upsample` of the frames from `first` to `last`; VDBs from Houdini do not store the frame rate."""
    program = os.environ.get("FLUIDSR", "fluidsr")
    options = ["--model", MODEL, "--format", "vdb", "--frames", f"{first}-{last}"]
    options += ["--frame-rate", f"{frame_rate:g}", "--progress", "json"]
    return [program, "upsample", cache, "-o", output, *options]


def run(arguments, log=print):
    """Run the command and pass the messages of its events to `log`. Raises RuntimeError with the error's one line."""
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        message = ""
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "error":
                message = event["message"]
            log(event.get("message", ""))
    if process.returncode:
        raise RuntimeError(message or f"fluidsr ended with exit code {process.returncode}")


def cook(work_item):
    """Upsample the frames of one work item and register the files as its results."""
    import hou

    first, last = work_item.intAttribValue("first"), work_item.intAttribValue("last")
    cache = CACHE.replace("$HIP", hou.getenv("HIP"))  # fluidsr expands $F4 itself
    output = hou.text.expandString(OUTPUT)
    run(command(cache, output, first, last, hou.fps()))
    for frame in range(first, last + 1):
        name = Path(CACHE).name.replace("$F4", f"{frame:04d}")
        work_item.addResultData(str(Path(output) / "frames" / name), "file/geo", 0)


if "work_item" in globals():  # as a Python Script TOP runs it
    cook(work_item)  # noqa: F821
