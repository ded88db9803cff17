"""Run by Blender with a window: presses Simulate Here, stops with Esc, presses again, and says in JSON what happened.

    blender --factory-startup -noaudio --enable-event-simulate --python clients_blender_window.py -- FLUIDSR FOLDER

Leaves pictures of the window in FOLDER: idle.png, running.png. The add-on is the module `fluidsr_addon` of the user's
scripts (BLENDER_USER_SCRIPTS).
"""

import json
import sys
import time
import traceback
from pathlib import Path

import bpy

program, folder = sys.argv[sys.argv.index("--") + 1 :]
folder = Path(folder)
reported = {"seen": [], "problem": ""}
bpy.ops.preferences.addon_enable(module="fluidsr_addon")
bpy.context.preferences.addons["fluidsr_addon"].preferences.executable = program
bpy.context.preferences.view.show_splash = False
addon = sys.modules["fluidsr_addon"]
ends = time.monotonic() + 540


def prepare():
    """A domain with an emitter, and in the fluid panel nothing but this add-on's own, open."""
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.3, location=(0, 0, 0.5))
    flow = bpy.context.object.modifiers.new("Fluid", "FLUID")
    flow.fluid_type = "FLOW"
    flow.flow_settings.flow_behavior = "INFLOW"
    bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, 1))
    domain = bpy.context.object
    domain.name = "Smoke"
    domain.modifiers.new("Fluid", "FLUID").fluid_type = "DOMAIN"
    settings = domain.modifiers[0].domain_settings
    settings.domain_type, settings.resolution_max = "GAS", 16
    settings.cache_directory, settings.cache_frame_end = str(folder / "cache"), 100
    for name in dir(bpy.types):
        panel = getattr(bpy.types, name)
        if name.startswith("PHYSICS_PT_") and getattr(panel, "bl_parent_id", "") == "PHYSICS_PT_fluid":
            bpy.utils.unregister_class(panel)
    own = addon.panel.FLUIDSR_PT_upsample
    bpy.utils.unregister_class(own)
    own.bl_options = set()
    bpy.utils.register_class(own)
    return domain


def press():
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "PROPERTIES")
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region):
        reported["seen"].append([*bpy.ops.fluidsr.simulate("INVOKE_DEFAULT")])


def written():
    return len(list((folder / "cache" / "fluidsr_simulation" / "frames").glob("*.vdb")))


def steps():
    """What a person does; a yield waits for so many seconds."""
    domain = prepare()
    window = bpy.context.window_manager.windows[0]
    view = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    view.type = "PROPERTIES"
    yield 0.5
    for area in window.screen.areas:
        if area.type == "PROPERTIES":
            area.spaces[0].context = "PHYSICS"
    yield 1.0
    bpy.ops.screen.screenshot(filepath=str(folder / "idle.png"))
    yield 0.5
    domain.fluidsr.model = "none"
    press()
    while written() < 2:
        yield 0.1
    yield 0.3
    reported["running"] = [
        addon.operators.FLUIDSR_OT_simulate.poll(bpy.context),
        addon.running.request.fraction > 0,
    ]
    bpy.ops.screen.screenshot(filepath=str(folder / "running.png"))
    window.event_simulate(type="ESC", value="PRESS")
    while addon.running.request is not None:
        yield 0.1
    reported["stopped"] = [written(), len(bpy.data.objects)]
    domain.fluidsr.use_range, domain.fluidsr.first, domain.fluidsr.last = True, 1, reported["stopped"][0] + 1
    press()
    while addon.running.request is not None:
        yield 0.1
    reported["ended"] = [written(), [thing.name for thing in bpy.data.objects if thing.type == "VOLUME"]]


script = steps()


def go_on():
    try:
        if time.monotonic() > ends:
            raise TimeoutError
        return next(script)
    except StopIteration:
        pass
    except Exception:
        reported["problem"] = traceback.format_exc()
    (folder / "reported.json").write_text(json.dumps(reported))
    bpy.ops.wm.quit_blender()
    return None


bpy.app.timers.register(go_on, first_interval=2.0)
