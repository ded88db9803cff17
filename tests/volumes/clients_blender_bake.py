"""Run by Blender: bakes a small smoke (or fire) cache as Blender's own users do, and says where it is.

    blender -b --factory-startup -noaudio --python clients_blender_bake.py -- FOLDER '{"adaptive": true, ...}'

Options: `adaptive`, `noise`, `fire` (bool), `upres` (of the noise), `format` (OPENVDB or UNI), `frames`, `fps`,
`resolution`, `scale` (of the domain object), `stretch` (further factors, one an axis), `time_scale`. FOLDER/bake.json
tells, for every frame, what Blender itself thinks of it: the box of the domain in the world, the sum of the densities,
the sum of density times place, and the box of the cells' centres where it is above 0.3.
"""

import json
import sys
from pathlib import Path

import bpy
import mathutils
import numpy as np

folder, options = sys.argv[sys.argv.index("--") + 1 :]
reported = {"adaptive": False, "noise": False, "fire": False, "format": "OPENVDB", "frames": 8, "fps": 24}
reported |= {"resolution": 32, "upres": 2, "scale": 1.0, "stretch": [1.0, 1.0, 1.0], "time_scale": 1.0}
reported |= json.loads(options)
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
scene = bpy.context.scene
scene.render.fps, scene.frame_end = reported["fps"], reported["frames"]

bpy.ops.mesh.primitive_uv_sphere_add(
    radius=0.35 * reported["scale"], location=(1.0, -0.5, 2.0 - 0.4 * reported["scale"])
)
source = bpy.context.object
source.modifiers.new("Fluid", "FLUID").fluid_type = "FLOW"
flow = source.modifiers[-1].flow_settings
flow.flow_type = "BOTH" if reported["fire"] else "SMOKE"
flow.flow_behavior = "INFLOW"

bpy.ops.mesh.primitive_cube_add(size=2, location=(1.0, -0.5, 2.0))
domain = bpy.context.object
domain.scale = [reported["scale"] * factor for factor in reported["stretch"]]
domain.modifiers.new("Fluid", "FLUID").fluid_type = "DOMAIN"
settings = domain.modifiers[-1].domain_settings
settings.domain_type = "GAS"
settings.resolution_max = reported["resolution"]
settings.use_adaptive_domain = reported["adaptive"]
settings.use_noise, settings.noise_scale = reported["noise"], reported["upres"]
settings.time_scale = reported["time_scale"]
settings.cache_directory = folder
settings.cache_data_format = settings.cache_noise_format = reported["format"]
settings.cache_frame_start, settings.cache_frame_end = 1, reported["frames"]
settings.cache_type, settings.cache_resumable = "MODULAR", reported["noise"]

bpy.context.view_layer.objects.active = domain
with bpy.context.temp_override(object=domain, active_object=domain, selected_objects=[domain]):
    bpy.ops.fluid.bake_data("EXEC_DEFAULT")  # a job in the background would not end before the script
    if reported["noise"]:
        bpy.ops.fluid.bake_noise("EXEC_DEFAULT")
frames = {}
for number in range(1, reported["frames"] + 1):
    scene.frame_set(number)
    evaluated = domain.evaluated_get(bpy.context.evaluated_depsgraph_get())
    inner = evaluated.modifiers[-1].domain_settings
    corners = np.array([evaluated.matrix_world @ mathutils.Vector(corner) for corner in evaluated.bound_box])
    low, high = corners.min(0), corners.max(0)
    shape = np.array(inner.domain_resolution)
    density = np.zeros(len(inner.density_grid), np.float32)
    shape *= round((len(density) / shape.prod()) ** (1 / 3))  # noise is finer than the domain
    inner.density_grid.foreach_get(density)
    density = density.reshape(shape[::-1]).T  # Blender's own view of its cache, in its own box
    at = (
        np.stack(np.meshgrid(*[np.arange(n) + 0.5 for n in shape], indexing="ij"), -1)
        * ((high - low) / shape)
        + low
    )
    thick = at[density > 0.3]
    frames[number] = {
        "low": low.tolist(),
        "high": high.tolist(),
        "resolution": shape.tolist(),
        "mass": float(density.sum()),
        "centre": (at * density[..., None]).sum((0, 1, 2)).tolist(),
        "thick": [thick.min(0).tolist(), thick.max(0).tolist()],
    }
(Path(folder) / "bake.json").write_text(json.dumps({"options": reported, "frames": frames}))
