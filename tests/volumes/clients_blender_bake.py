"""Run by Blender: bakes a small smoke (or fire) cache as Blender's own users do, and says where it is.

    blender -b --factory-startup -noaudio --python clients_blender_bake.py -- FOLDER '{"adaptive": true, ...}'

Options: `adaptive`, `noise`, `fire` (bool), `format` (OPENVDB or UNI), `frames`, `fps`, `resolution`,
`scale` (of the domain object), `time_scale`, `speed` (m/s upwards at the source). FOLDER/bake.json tells, for
every frame, the box of the domain in the world.
"""

import json
import sys
from pathlib import Path

import bpy
import mathutils

folder, options = sys.argv[sys.argv.index("--") + 1 :]
told = {"adaptive": False, "noise": False, "fire": False, "format": "OPENVDB", "frames": 8, "fps": 24}
told |= {"resolution": 32, "scale": 1.0, "time_scale": 1.0, "speed": 0.0, "buoyancy": 1.0, "gravity": True}
told |= json.loads(options)
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
scene = bpy.context.scene
scene.render.fps, scene.frame_end = told["fps"], told["frames"]
scene.use_gravity = told["gravity"]

bpy.ops.mesh.primitive_uv_sphere_add(
    radius=0.35 * told["scale"], location=(1.0, -0.5, 2.0 - 0.4 * told["scale"])
)
source = bpy.context.object
source.modifiers.new("Fluid", "FLUID").fluid_type = "FLOW"
flow = source.modifiers[-1].flow_settings
flow.flow_type = "BOTH" if told["fire"] else "SMOKE"
flow.flow_behavior = "INFLOW"
if told["speed"]:
    flow.use_initial_velocity, flow.velocity_coord = True, (0, 0, told["speed"])

bpy.ops.mesh.primitive_cube_add(size=2, location=(1.0, -0.5, 2.0))
domain = bpy.context.object
domain.scale = (told["scale"],) * 3
domain.modifiers.new("Fluid", "FLUID").fluid_type = "DOMAIN"
settings = domain.modifiers[-1].domain_settings
settings.domain_type = "GAS"
settings.resolution_max = told["resolution"]
settings.use_adaptive_domain = told["adaptive"]
settings.use_noise, settings.noise_scale = told["noise"], 2
settings.time_scale = told["time_scale"]
settings.alpha = settings.beta = told["buoyancy"]
settings.cache_directory = folder
settings.cache_data_format = settings.cache_noise_format = told["format"]
settings.cache_frame_start, settings.cache_frame_end = 1, told["frames"]
settings.cache_type, settings.cache_resumable = "MODULAR", told["noise"]

bpy.context.view_layer.objects.active = domain
with bpy.context.temp_override(object=domain, active_object=domain, selected_objects=[domain]):
    bpy.ops.fluid.bake_data("EXEC_DEFAULT")  # a job in the background would not end before the script
    if told["noise"]:
        bpy.ops.fluid.bake_noise("EXEC_DEFAULT")
boxes = {}
for frame in range(1, told["frames"] + 1):
    scene.frame_set(frame)
    corners = [domain.matrix_world @ mathutils.Vector(corner) for corner in domain.bound_box]
    evaluated = domain.evaluated_get(bpy.context.evaluated_depsgraph_get())
    inner = evaluated.modifiers[-1].domain_settings
    boxes[frame] = {
        "low": [min(c[i] for c in corners) for i in range(3)],
        "high": [max(c[i] for c in corners) for i in range(3)],
        "resolution": list(inner.domain_resolution),
        "cell_size": list(inner.cell_size),
        "start": list(inner.start_point),
    }
(Path(folder) / "bake.json").write_text(json.dumps({"options": told, "boxes": boxes}))
