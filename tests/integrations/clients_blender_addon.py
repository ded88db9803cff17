"""Run by Blender: uses the add-on as a person does, and says as JSON what has happened.

    blender -b --factory-startup -noaudio --python clients_blender_addon.py -- FLUIDSR FOLDER PICTURE.png BAKE FRAMES

FLUIDSR is the program. BAKE is a folder with a finished bake of FRAMES frames for a domain of 2 m; `-`: bake one. The
add-on is the module `fluidsr_addon` of the user's scripts (BLENDER_USER_SCRIPTS).
"""

import json
import shutil
import sys
import time
from pathlib import Path

import bpy
import mathutils

program, folder, picture, bake, count = sys.argv[sys.argv.index("--") + 1 :]
folder, FRAMES = Path(folder), int(count)
reported = {"blender": bpy.app.version_string}


def refused(operator, **arguments):
    """What Blender shows when an operator fails."""
    try:
        operator(**arguments)
    except RuntimeError as error:
        return str(error).strip()
    return "it was done"


def save():
    (folder / "reported.json").write_text(json.dumps(reported))


bpy.ops.preferences.addon_enable(module="fluidsr_addon")
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
scene = bpy.context.scene
scene.frame_end = FRAMES

bpy.ops.mesh.primitive_uv_sphere_add(radius=0.4, location=(1.0, -0.5, 1.5))
source = bpy.context.object
source.modifiers.new("Fluid", "FLUID").fluid_type = "FLOW"
flow = source.modifiers[-1].flow_settings
flow.flow_type, flow.flow_behavior = "BOTH", "INFLOW"
source.hide_render = True
bpy.ops.mesh.primitive_cube_add(size=2, location=(1.0, -0.5, 2.0))
domain = bpy.context.object
domain.name = "Smoke"
domain.modifiers.new("Fluid", "FLUID").fluid_type = "DOMAIN"
if bake != "-":  # Mantaflow, which would run at every update, fails in Blender as a module
    domain.modifiers[-1].show_viewport = domain.modifiers[-1].show_render = False
settings = domain.modifiers[-1].domain_settings
settings.domain_type, settings.resolution_max = "GAS", 20
settings.cache_directory = str(folder / "cache")
settings.cache_data_format = "OPENVDB"
settings.cache_frame_start, settings.cache_frame_end, settings.cache_type = 1, FRAMES, "MODULAR"
bpy.context.view_layer.objects.active = domain

preferences = bpy.context.preferences.addons["fluidsr_addon"].preferences
preferences.executable = str(folder / "nowhere")
reported["wrong path"] = refused(bpy.ops.fluidsr.test)
preferences.executable = "/bin/false"
reported["wrong program"] = refused(bpy.ops.fluidsr.test)
preferences.executable = program
bpy.ops.fluidsr.test()
reported["state"], reported["models"] = preferences.state, json.loads(preferences.models)
reported["not baked"] = refused(bpy.ops.fluidsr.upsample)

if bake == "-":
    with bpy.context.temp_override(object=domain, active_object=domain, selected_objects=[domain]):
        bpy.ops.fluid.bake_data("EXEC_DEFAULT")  # a job in the background would not end before the script
else:
    shutil.copytree(Path(bake) / "grids", folder / "cache" / "data", dirs_exist_ok=True)
    shutil.copytree(Path(bake) / "config", folder / "cache" / "config", dirs_exist_ok=True)
reported["nothing to import"] = refused(bpy.ops.fluidsr.import_result)
domain.fluidsr.model = "no-such-model"
reported["wrong model"] = refused(bpy.ops.fluidsr.upsample)
domain.fluidsr.model = "smoke3d-x4"
domain.fluidsr.use_range, domain.fluidsr.first, domain.fluidsr.last = True, 3, 2
reported["wrong range"] = refused(bpy.ops.fluidsr.upsample)
domain.fluidsr.use_range = False

module = sys.modules["fluidsr_addon"]
frames = folder / "cache" / "fluidsr" / "frames"


def written():
    return {file.name: file.stat().st_mtime_ns for file in sorted(frames.glob("*.vdb"))}


run = module.worker.Run(program, "upsample", **module.operators.upsample_arguments(domain))
while run.fraction == 0 and not run.done:
    run.step()
    time.sleep(0.01)
run.cancel()
while not run.done:
    run.step()
    time.sleep(0.01)
reported["cancelled"] = [run.cancelled, len(written())]
reported["upsampled"] = [*bpy.ops.fluidsr.upsample()]
first = written()
reported["files"] = list(first)
reported["again"] = [[*bpy.ops.fluidsr.upsample()], first == written()]
domain.fluidsr.velocity_scale = 0.5
reported["other settings"] = refused(bpy.ops.fluidsr.upsample)
domain.fluidsr.velocity_scale = 1.0
domain.fluidsr.style_seed = 3
reported["style of a model without styles"] = refused(bpy.ops.fluidsr.upsample)
domain.fluidsr.style_seed = 0
save()

corners = [domain.matrix_world @ mathutils.Vector(corner) for corner in domain.bound_box]
reported["domain"] = [
    [min(c[i] for c in corners) for i in range(3)],
    [max(c[i] for c in corners) for i in range(3)],
]
bpy.ops.fluidsr.import_result()
count = len(bpy.data.objects)
bpy.context.view_layer.objects.active = domain
bpy.ops.fluidsr.import_result()
reported["objects"] = [count, len(bpy.data.objects)]
reported["domain hidden"] = [domain.hide_render, domain.hide_get()]
volume = domain.fluidsr.volume
shown = {}
for number in range(1, FRAMES + 2):
    scene.frame_set(number)
    grids = volume.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.grids
    grids.load()
    shown[number] = Path(grids.frame_filepath).name if grids.is_loaded and len(grids) else ""
reported["shown"] = shown
scene.frame_set(FRAMES)
evaluated = volume.evaluated_get(bpy.context.evaluated_depsgraph_get())
evaluated.data.grids.load()
reported["grids"] = {grid.name: [list(row) for row in grid.matrix_object] for grid in evaluated.data.grids}
corners = [evaluated.matrix_world @ mathutils.Vector(corner) for corner in evaluated.bound_box]
reported["box"] = [
    [min(c[i] for c in corners) for i in range(3)],
    [max(c[i] for c in corners) for i in range(3)],
]
reported["location"] = list(volume.location)
reported["velocity"] = [volume.data.velocity_grid, volume.data.velocity_unit]
nodes = volume.data.materials[0].node_tree.nodes
reported["attributes"] = [node.attribute_name for node in nodes if node.bl_idname == "ShaderNodeAttribute"]
reported["density"] = (
    next(node for node in nodes if node.bl_idname == "ShaderNodeVolumePrincipled")
    .inputs["Density Attribute"]
    .default_value
)
save()

sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
sun.data.energy, sun.rotation_euler = 8, (0.9, 0.1, -1.2)
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
away = mathutils.Vector((0.4, -1.0, 0.2)).normalized()
camera.location = mathutils.Vector((1.0, -0.5, 1.9)) + away * 4.5
camera.rotation_euler = away.to_track_quat("Z", "Y").to_euler()
for thing in (sun, camera):
    bpy.context.collection.objects.link(thing)
scene.camera = camera
scene.world = bpy.data.worlds.new("world")
scene.world.use_nodes = True
scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.05, 0.07, 0.1, 1)
scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 24, "CPU"
scene.cycles.use_denoising = False  # Debian builds Blender without a denoiser
scene.render.resolution_x = scene.render.resolution_y = 200
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
bpy.ops.preferences.addon_disable(module="fluidsr_addon")
reported["ended"] = True
save()
