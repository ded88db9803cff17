"""Run by Blender: simulates a scene of Blender's with the add-on as a person does, and says as JSON what has happened.

    blender -b --factory-startup -noaudio --python clients_blender_simulate.py -- FLUIDSR FOLDER PICTURE.png

FLUIDSR is the program. The add-on is the module `fluidsr_addon` of the user's scripts (BLENDER_USER_SCRIPTS).
"""

import json
import math
import sys
from pathlib import Path

import bpy
import mathutils

program, folder, picture = sys.argv[sys.argv.index("--") + 1 :]
folder = Path(folder)
reported = {"blender": bpy.app.version_string}


def done_or_refused(operator):
    """What the operator returns, or what Blender shows when it fails."""
    try:
        return [*operator()]
    except RuntimeError as error:
        return str(error).strip()


def fluid(kind, **settings):
    """Give the active object a fluid modifier of this kind."""
    modifier = bpy.context.object.modifiers.new("Fluid", "FLUID")
    modifier.fluid_type = kind
    for name, value in settings.items():
        setattr(getattr(modifier, f"{kind.lower()}_settings"), name, value)
    return bpy.context.object


def keyframes(thing, path, values):
    """Keyframes with straight lines in between."""
    for frame, value in values.items():
        setattr(thing, path, value)
        thing.keyframe_insert(path, frame=frame)
    for curve in thing.animation_data.action.fcurves:
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"


def select(thing):
    bpy.context.view_layer.objects.active = thing


bpy.ops.preferences.addon_enable(module="fluidsr_addon")
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
scene = bpy.context.scene
scene.render.fps = 25

bpy.ops.mesh.primitive_cube_add(size=1, location=(3.0, -2.0, 1.6))
domain = bpy.context.object
domain.scale = (2.0, 1.6, 3.2)
bpy.context.view_layer.update()
domain.name = "Smoke box"
settings = domain.modifiers.new("Fluid", "FLUID")
settings.fluid_type = "DOMAIN"
settings = settings.domain_settings
settings.domain_type, settings.resolution_max, settings.use_collision_border_bottom = "GAS", 16, True
settings.cache_directory = str(folder / "cache")
settings.cache_frame_start, settings.cache_frame_end, settings.cache_type = 5, 7, "MODULAR"
in_a_program = bool(
    bpy.app.binary_path
)  # as a Python module, Blender cannot bake, and would try at every update
domain.modifiers[0].show_viewport = in_a_program
scene.frame_set(20)
bpy.context.view_layer.objects.active = domain

preferences = bpy.context.preferences.addons["fluidsr_addon"].preferences
preferences.executable = str(folder / "nowhere")
reported["wrong path"] = done_or_refused(bpy.ops.fluidsr.simulate)
preferences.executable = program
reported["no sources"] = done_or_refused(bpy.ops.fluidsr.simulate)

bpy.ops.mesh.primitive_uv_sphere_add(radius=0.4, location=(3.0, -2.0, 0.6))
emitter = fluid("FLOW", flow_type="SMOKE", flow_behavior="INFLOW", density=1.0, temperature=1.0)
emitter.name = "Emitter"
bpy.ops.mesh.primitive_cube_add(size=0.4, location=(2.5, -2.0, 1.4))
lid = fluid("EFFECTOR", effector_type="COLLISION")
lid.name = "Lid"
keyframes(lid, "location", {5: (2.5, -2.0, 1.4), 7: (2.7, -2.0, 1.4)})
bpy.ops.mesh.primitive_plane_add(size=6, location=(3.0, -2.0, 2.9))
sheet = fluid("EFFECTOR", effector_type="COLLISION")
sheet.name = "Sheet"
bpy.ops.mesh.primitive_monkey_add(size=0.3, location=(3.4, -2.0, 1.6))
monkey = fluid("EFFECTOR", effector_type="COLLISION")
monkey.name = "Suzanne"
select(domain)
reported["open"] = done_or_refused(bpy.ops.fluidsr.simulate)
monkey.modifiers.new("Remesh", "REMESH").voxel_size = 0.05
keyframes(monkey, "rotation_euler", {5: (0, 0, 0), 7: (0, 0, 1)})
domain.rotation_euler[2] = 0.3
bpy.context.view_layer.update()
reported["rotated"] = done_or_refused(bpy.ops.fluidsr.simulate)
domain.rotation_euler[2] = 0.0
domain.fluidsr.model = "no-such-model"
bpy.context.view_layer.update()
reported["wrong model"] = done_or_refused(bpy.ops.fluidsr.simulate)
domain.fluidsr.model = "none"
domain.fluidsr.output = "/dev/null/out"
reported["wrong output"] = done_or_refused(bpy.ops.fluidsr.simulate)
domain.fluidsr.output = ""

if in_a_program:
    with bpy.context.temp_override(object=domain, active_object=domain, selected_objects=[domain]):
        bpy.ops.fluid.bake_data("EXEC_DEFAULT")


def baked():
    return {file.name: file.stat().st_mtime_ns for file in sorted((folder / "cache" / "data").glob("*.vdb"))}


bake = baked()
module = sys.modules["fluidsr_addon"]
frames = folder / "cache" / "fluidsr_simulation" / "frames"


def written():
    return {file.name: file.stat().st_mtime_ns for file in sorted(frames.glob("*.vdb"))}


arguments, reported["notes"], reported["names"] = module.operators.simulate_arguments(bpy.context, domain)
reported["scene"], reported["shown"] = (
    arguments["scene"],
    [scene.frame_current, domain.modifiers[0].show_viewport == in_a_program],
)
domain.fluidsr.use_range, domain.fluidsr.first, domain.fluidsr.last = True, 5, 5
reported["part"] = done_or_refused(bpy.ops.fluidsr.simulate)
part = written()
domain.fluidsr.use_range = False
select(domain)
reported["simulated"] = done_or_refused(bpy.ops.fluidsr.simulate)
first = written()
reported["files"] = [list(part), list(first), part.items() <= first.items()]
reported["bake"] = [
    len(bake) == (3 if in_a_program else 0),
    baked() == bake,
    settings.has_cache_baked_data == in_a_program,
]
objects = len(bpy.data.objects)
select(domain)
reported["again"] = [
    done_or_refused(bpy.ops.fluidsr.simulate),
    first == written(),
    objects == len(bpy.data.objects),
]
select(domain)
settings.vorticity = 0.1
reported["other settings"] = done_or_refused(bpy.ops.fluidsr.simulate)

corners = [domain.matrix_world @ mathutils.Vector(corner) for corner in domain.bound_box]
reported["domain"] = [[pick(c[i] for c in corners) for i in range(3)] for pick in (min, max)]
reported["domain hidden"] = [domain.hide_render, domain.hide_get()]
volume = domain.fluidsr.volume
scene.frame_set(7)
evaluated = volume.evaluated_get(bpy.context.evaluated_depsgraph_get())
evaluated.data.grids.load()
reported["file"] = evaluated.data.grids.frame_filepath
reported["grids"] = {grid.name: [list(row) for row in grid.matrix_object] for grid in evaluated.data.grids}
reported["location"] = list(volume.location)
corners = [evaluated.matrix_world @ mathutils.Vector(corner) for corner in evaluated.bound_box]
reported["box"] = [[pick(c[i] for c in corners) for i in range(3)] for pick in (min, max)]
reported["velocity"] = [volume.data.velocity_grid, volume.data.velocity_unit, volume.data.velocity_scale]
nodes = volume.data.materials[0].node_tree.nodes
reported["shader"] = [node.bl_idname for node in nodes]

sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
sun.data.energy, sun.rotation_euler = 8, (0.9, 0.1, -1.2)
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
camera.location, camera.rotation_euler = (3.0, -8.0, 1.5), (math.pi / 2, 0, 0)
for thing in (sun, camera):
    bpy.context.collection.objects.link(thing)
scene.camera = camera
scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 16, "CPU"
scene.cycles.use_denoising = False  # Debian builds Blender without a denoiser
scene.render.resolution_x = scene.render.resolution_y = 160
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
bpy.ops.preferences.addon_disable(module="fluidsr_addon")
reported["ended"] = True
(folder / "reported.json").write_text(json.dumps(reported))
