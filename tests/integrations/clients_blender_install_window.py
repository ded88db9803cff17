"""Run by Blender with a window: clicks Install in the Preferences as a person does, and says in JSON what happened.

    blender --factory-startup --enable-event-simulate --python clients_blender_install_window.py -- FLUIDSR FOLDER

Programs in FOLDER stand for Python and pip, so that nothing is downloaded; what they install is FLUIDSR. Leaves
pictures of the Preferences in FOLDER: asked.png, running.png, failed.png, installed.png. The add-on is the module
`fluidsr_addon` of the user's scripts (BLENDER_USER_SCRIPTS).
"""

import json
import sys
import time
import traceback
from pathlib import Path

import addon_utils
import bpy

program, folder = sys.argv[sys.argv.index("--") + 1 :]
folder = Path(folder)
reported = {"problem": ""}
bpy.ops.preferences.addon_enable(module="fluidsr_addon")
bpy.context.preferences.view.show_splash = False
addon = sys.modules["fluidsr_addon"]
found = bpy.context.preferences.addons["fluidsr_addon"].preferences
place = addon.preferences.environments()
ends = time.monotonic() + 2300

PIP = f"""#!/bin/sh
for source; do :; done
echo "Collecting $source (from somewhere)"
case "$source" in
  broken) echo "ERROR: No matching distribution found for broken"; exit 1 ;;
  slow) sleep 1000 ;;
esac
sleep 3
cp "{program}" "$(dirname "$0")/fluidsr"
"""
PYTHON = f"""#!/bin/sh
case "$2" in
  -c) echo 3 11 ;;
  -m) mkdir -p "$4/bin" && cp "{folder / "pip"}" "$4/bin/python" ;;
esac
"""


def stand_in(name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def shown():
    """The window with the Preferences, or None."""
    windows = bpy.context.window_manager.windows
    return next((w for w in windows if w.screen.areas[0].type == "PREFERENCES"), None)


def within():
    window = shown()
    area = window.screen.areas[0]
    region = next(region for region in area.regions if region.type == "WINDOW")
    return bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region)


def show():
    """Edit > Preferences > Add-ons, with this one open."""
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "fluidsr"
    addon_utils.modules()  # what the Preferences list
    addon_utils.addons_fake_modules["fluidsr_addon"].bl_info["show_expanded"] = True
    bpy.ops.screen.userpref_show("INVOKE_DEFAULT")


def click():
    """Click Install; what it answers, or what Blender shows."""
    try:
        with within():
            return [*bpy.ops.fluidsr.install("INVOKE_DEFAULT")]
    except RuntimeError as error:
        return str(error).strip()


def key(name):
    for value in ("PRESS", "RELEASE"):
        shown().event_simulate(type=name, value=value)


def picture(name):
    with within():
        bpy.ops.screen.screenshot(filepath=str(folder / name))


def left():
    return sorted(entry.name for entry in place.iterdir())


def going_on():
    return addon.running.install is not None


def steps():
    """What a person does; a yield waits for so many seconds."""
    stand_in("pip", PIP)
    python = stand_in("python", PYTHON)
    show()
    yield 1.0
    found.python = "/bin/false"
    reported["wrong python"] = click()
    found.python, found.source = python, "slow"
    reported["asked"] = click()
    yield 1.0
    picture("asked.png")
    key("ESC")
    yield 0.5
    reported["refused"] = going_on() or place.exists()
    click()
    yield 0.5
    key("RET")
    while not (going_on() and addon.running.install.text.startswith("Collecting")):
        yield 0.1
    yield 1.0
    reported["running"] = addon.running.install.text
    picture("running.png")
    reported["second click"] = click()
    key("ESC")
    while going_on():
        yield 0.1
    reported["stopped"] = [found.state, left()]
    found.source = "broken"
    click()
    yield 0.5
    key("RET")
    while not found.state.startswith("Install failed"):
        yield 0.1
    yield 1.0
    picture("failed.png")
    reported["failed"] = [found.state, left()]
    found.source = "good"
    click()
    yield 0.5
    key("RET")
    while not going_on():
        yield 0.1
    with within():
        bpy.ops.wm.window_close()
    yield 0.5
    reported["closed"] = [shown() is None, going_on()]
    while going_on():
        yield 0.1
    reported["went on"] = [found.state, found.executable]
    show()
    yield 1.0
    click()
    yield 0.5
    key("RET")
    while not found.state.startswith("fluidsr"):
        yield 0.1
    yield 1.0
    picture("installed.png")
    reported["installed"] = [found.state, found.executable, left()]


script = steps()


def go_on():
    try:
        if time.monotonic() > ends:
            raise TimeoutError(f"after {reported}")
        return next(script)
    except StopIteration:
        pass
    except Exception:
        reported["problem"] = traceback.format_exc()
    (folder / "reported.json").write_text(json.dumps(reported))
    bpy.ops.wm.quit_blender()
    return None


bpy.app.timers.register(go_on, first_interval=2.0)
