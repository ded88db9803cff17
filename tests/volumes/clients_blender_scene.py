"""Run by Blender: a volume where its file says it is, inside a box, as a picture by Cycles.

    blender -b --factory-startup -noaudio --python clients_blender_scene.py -- FILE.vdb PICTURE '[[low], [high]]'

The wire frame is the box from low to high (m). A picture of a cache's domain shows whether the smoke is in it.
"""

import json
import math
import sys

import bpy
import mathutils

source, picture, box = sys.argv[sys.argv.index("--") + 1 :]
low, high = (mathutils.Vector(corner) for corner in json.loads(box))
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)


def material(name, kind, **inputs):
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes = made.node_tree.nodes
    nodes.clear()
    shader, end = nodes.new(f"ShaderNode{kind}"), nodes.new("ShaderNodeOutputMaterial")
    for key, value in inputs.items():
        shader.inputs[key.replace("_", " ").title()].default_value = value
    socket = "Volume" if kind.startswith("Volume") else "Surface"
    made.node_tree.links.new(shader.outputs[0], end.inputs[socket])
    return made


bpy.ops.object.volume_import(filepath=source, files=[{"name": source.rsplit("/", 1)[1]}])
volume = bpy.context.object
reach = max(high - low)
volume.data.materials.append(
    material("smoke", "VolumePrincipled", density=25 / reach, color=(0.8, 0.8, 0.85, 1))
)

centre = (low + high) / 2
bpy.ops.mesh.primitive_cube_add(size=1, location=centre)
frame = bpy.context.object
frame.scale = high - low
bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
frame.modifiers.new("wire", "WIREFRAME").thickness = 0.008 * reach
frame.visible_shadow = False
frame.data.materials.append(material("wire", "Emission", color=(1.0, 0.45, 0.1, 1)))

sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
sun.data.energy, sun.rotation_euler = 18, (0.9, 0.1, -1.2)
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
away = mathutils.Vector((0.55, -1.0, 0.28)).normalized()
camera.location = centre + away * 2.9 * reach
camera.rotation_euler = away.to_track_quat("Z", "Y").to_euler()
camera.data.angle = math.radians(38)
for thing in (sun, camera):
    bpy.context.collection.objects.link(thing)
scene = bpy.context.scene
scene.camera = camera
scene.world = bpy.data.worlds.new("world")
scene.world.use_nodes = True
scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.025, 0.035, 0.05, 1)
scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 96, "CPU"
scene.cycles.use_denoising = False  # Debian builds Blender without a denoiser
scene.render.resolution_x, scene.render.resolution_y = 420, 480
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
