"""Run by Blender: fire of a volume file as a picture by Cycles, with motion blur.

    blender -b --factory-startup -noaudio --python clients_blender_fire.py -- FILE.vdb PICTURE '{"blur": true, ...}'

Options: `blur` (bool), `samples`, `width`, `step` (of the march, over Cycles' own), `shutter` (frames), `fps`, `low`,
`high` (m, of what is to be seen).
PICTURE.json tells the names of the grids, and which of them is the velocity.
"""

import json
import math
import sys
from pathlib import Path

import bpy
import mathutils

source, picture, options = sys.argv[sys.argv.index("--") + 1 :]
reported = {"blur": True, "samples": 32, "width": 300, "step": 1.0, "shutter": 0.5, "fps": 24} | json.loads(
    options
)
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
bpy.ops.object.volume_import(filepath=source, files=[{"name": source.rsplit("/", 1)[1]}])
volume = bpy.context.object
volume.data.grids.load()
names = [grid.name for grid in volume.data.grids]
velocity = next(name for name in ("velocity", "vel", "v") if name in names)
volume.data.velocity_grid, volume.data.velocity_unit, volume.data.velocity_scale = velocity, "SECOND", 1.0
low, high = mathutils.Vector(reported["low"]), mathutils.Vector(reported["high"])
centre, reach = (low + high) / 2, max(high - low)

made = bpy.data.materials.new("fire")
made.use_nodes = True
nodes, links = made.node_tree.nodes, made.node_tree.links
nodes.clear()
end, shader = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeVolumePrincipled")
shader.inputs["Density"].default_value = 6 / reach
shader.inputs["Color"].default_value = (0.5, 0.5, 0.5, 1)
flame, ramp = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeValToRGB")
flame.attribute_name = "flame"
stops = ramp.color_ramp.elements
stops[0].position, stops[0].color = 0.05, (0, 0, 0, 1)
stops[1].position, stops[1].color = 0.9, (1.0, 0.55, 0.12, 1)
stops.new(0.45).color = (0.8, 0.1, 0.01, 1)
strength = nodes.new("ShaderNodeMath")
strength.operation, strength.inputs[1].default_value = "MULTIPLY", 5 / reach
links.new(flame.outputs["Fac"], ramp.inputs[0])
links.new(flame.outputs["Fac"], strength.inputs[0])
links.new(ramp.outputs[0], shader.inputs["Emission Color"])
links.new(strength.outputs[0], shader.inputs["Emission Strength"])
links.new(shader.outputs[0], end.inputs["Volume"])
volume.data.materials.append(made)

sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
sun.data.energy, sun.rotation_euler = 4, (0.9, 0.1, -1.2)
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
away = mathutils.Vector((0.55, -1.0, 0.12)).normalized()
camera.location = centre + away * 2.3 * reach
camera.rotation_euler = away.to_track_quat("Z", "Y").to_euler()
camera.data.angle = math.radians(30)
for thing in (sun, camera):
    bpy.context.collection.objects.link(thing)
scene = bpy.context.scene
scene.camera, scene.render.fps = camera, reported["fps"]
scene.world = bpy.data.worlds.new("world")
scene.world.use_nodes = True
scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.02, 0.025, 0.04, 1)
scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", reported["samples"], "CPU"
scene.cycles.volume_step_rate = reported["step"]
scene.cycles.use_denoising = False  # Debian builds Blender without a denoiser
scene.render.use_motion_blur, scene.render.motion_blur_shutter = reported["blur"], reported["shutter"]
scene.render.resolution_x, scene.render.resolution_y = reported["width"], round(reported["width"] * 1.15)
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
Path(picture + ".json").write_text(json.dumps({"grids": names, "velocity": velocity}))
