"""Run by Blender: installs fluidsr with the add-on's Install, and says as JSON what has happened.

    blender -b --factory-startup -noaudio --python clients_blender_install.py -- FLUIDSR FOLDER SOURCE PACKAGES

SOURCE is a checkout of fluidsr. PACKAGES is a folder with what it needs, which is used in place of downloads. The
add-on is the module `fluidsr_addon` of the user's scripts (BLENDER_USER_SCRIPTS).
"""

import json
import os
import sys
from pathlib import Path

import bpy

_, folder, source, packages = sys.argv[sys.argv.index("--") + 1 :]
folder = Path(folder)
reported = {"blender": bpy.app.version_string}


def refused(operator, **arguments):
    """What Blender shows when an operator fails."""
    try:
        operator(**arguments)
    except RuntimeError as error:
        return str(error).strip()
    return "it was done"


bpy.ops.preferences.addon_enable(module="fluidsr_addon")
addon = sys.modules["fluidsr_addon"]
found = bpy.context.preferences.addons["fluidsr_addon"].preferences
place = addon.preferences.environments()
os.environ["PIP_NO_DEPS"] = "1"
os.environ["PYTHONPATH"] = packages  # of what is started from here on

reported["place"] = str(place)
if hasattr(bpy.app, "online_access"):
    reported["offline"] = refused(bpy.ops.fluidsr.install)
    bpy.context.preferences.system.use_online_access = True
found.python = "/bin/false"
reported["wrong python"] = refused(bpy.ops.fluidsr.install)
found.python = ""
found.source = str(folder / "nowhere")
reported["wrong source"] = refused(bpy.ops.fluidsr.install)

found.source = source
python = addon.installation.find_python()
running = addon.installation.Installation(python, source, place)
addon.running.install = running
reported["second click"] = refused(bpy.ops.fluidsr.install)
reported["upsample meanwhile"] = refused(bpy.ops.fluidsr.upsample)
bpy.ops.fluidsr.cancel_install()
running.wait()
reported["cancelled"] = [
    running.cancelled,
    running.error,
    addon.preferences.conclude(bpy.context),
    found.state,
]
reported["left"] = sorted(entry.name for entry in place.iterdir())

earlier = addon.installation.program_of(place / "environment_20000101_000000")
earlier.parent.mkdir(parents=True)
earlier.touch()
reported["before"] = addon.preferences.command(bpy.context) == str(earlier)
reported["installed"] = [*bpy.ops.fluidsr.install()]
reported["state"], reported["models"], reported["program"] = (
    found.state,
    json.loads(found.models),
    found.executable,
)
found.executable = ""
reported["found"] = addon.preferences.command(bpy.context)
bpy.ops.preferences.addon_disable(module="fluidsr_addon")
reported["entries"] = sorted(entry.name for entry in place.iterdir())
(folder / "reported.json").write_text(json.dumps(reported))
