"""Run by Blender: what Blender reads in a VDB, as JSON, and a picture of it by Cycles.

    blender -b --factory-startup -noaudio --python clients_blender.py -- FILE.vdb OUTPUT.json PICTURE.png

Blender's Python does not give out voxel values; the surface where density is 0.5, which its own Volume to
Mesh makes of them, does.
"""

import json
import math
import sys

import bpy
import mathutils

source, output, picture = sys.argv[sys.argv.index("--") + 1 :]
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)

bpy.ops.object.volume_import(filepath=source, files=[{"name": source.rsplit("/", 1)[1]}])
volume = bpy.context.object
volume.data.grids.load()
grids = {}
for grid in volume.data.grids:
    grid.load()
    grids[grid.name] = {
        "type": grid.data_type,
        "channels": grid.channels,
        "matrix": [list(row) for row in grid.matrix_object],
    }

mesh = bpy.data.objects.new("surface", bpy.data.meshes.new("surface"))
bpy.context.collection.objects.link(mesh)
modifier = mesh.modifiers.new("surface", "VOLUME_TO_MESH")
modifier.object, modifier.threshold, modifier.resolution_mode = volume, 0.5, "GRID"
made = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
corners = [list(vertex.co) for vertex in made.vertices]
with open(output, "w") as file:  # noqa: PTH123
    json.dump({"error": volume.data.grids.error_message, "grids": grids, "corners": corners}, file)

bpy.data.objects.remove(mesh)
material = bpy.data.materials.new("smoke")
material.use_nodes = True
nodes = material.node_tree.nodes
nodes.clear()
smoke, end = nodes.new("ShaderNodeVolumePrincipled"), nodes.new("ShaderNodeOutputMaterial")
smoke.inputs["Density"].default_value = 12 / max(volume.dimensions)
material.node_tree.links.new(smoke.outputs[0], end.inputs["Volume"])
volume.data.materials.append(material)
centre = sum((volume.matrix_world @ mathutils.Vector(c) for c in volume.bound_box), mathutils.Vector()) / 8
reach = max(volume.dimensions)
sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
sun.data.energy, sun.rotation_euler = 5, (0.4, 0.6, 0)
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
camera.location = centre + mathutils.Vector((0, 0, 2.2 * reach))
camera.rotation_euler = (0, 0, 0)
camera.data.angle = math.radians(35)
for thing in (sun, camera):
    bpy.context.collection.objects.link(thing)
scene = bpy.context.scene
scene.camera = camera
scene.world = bpy.data.worlds.new("world")
scene.world.use_nodes = True
scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.05, 0.08, 0.12, 1)
scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 16, "CPU"
scene.cycles.use_denoising = False  # Debian builds Blender without a denoiser
scene.render.resolution_x = scene.render.resolution_y = 320
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
