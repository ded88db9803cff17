# SPDX-License-Identifier: GPL-3.0-or-later
"""A sequence of VDB files as a volume object with a material."""

import bpy
import mathutils


class Unreadable(Exception):
    """A file cannot be used; the text is for the user."""


def sequence(frames, name, before=None, corner=(0.0, 0.0, 0.0), speed=1.0):
    """A volume object that shows `frames` (files by number) at the frames of their numbers; `before` is used again.

    `corner` is where the origin of the files lies in the world (m); `speed`: seconds of the files in one of Blender's.

    Blender takes a voxel's index for its lower corner, and OpenVDB for its center: it draws every file half a voxel too
    high along each axis. The object is moved back by that. Raises Unreadable.
    """
    first, path = next(iter(frames.items()))
    grids, voxel = _contents(path)
    data = before.data if before is not None else bpy.data.volumes.new(f"{name} fine")
    data.filepath, data.is_sequence = str(path), False
    data.grids.load()  # or the name of a grid is refused
    for velocity in ("velocity", "vel"):
        if velocity in grids:  # for motion blur
            if data.velocity_grid != velocity:
                data.velocity_grid = velocity
            data.velocity_unit, data.velocity_scale = "SECOND", speed
    data.is_sequence, data.sequence_mode = len(frames) > 1, "CLIP"
    data.frame_start, data.frame_duration, data.frame_offset = first, max(frames) - first + 1, first - 1
    thing = before if before is not None else bpy.data.objects.new(f"{name} fine", data)
    thing.location = mathutils.Vector(corner) - mathutils.Vector((voxel / 2,) * 3)
    if not data.materials:
        data.materials.append(material(f"{name} smoke", grids))
    return thing


def _contents(path):
    """Names of the grids of a file, and the edge of its voxels (m). Raises Unreadable."""
    probe = bpy.data.volumes.new("probe")  # one that is in use keeps the frame that it shows
    try:
        probe.filepath = str(path)
        if not probe.grids.load() or not len(probe.grids):
            message = probe.grids.error_message or "it holds no grids"
            raise Unreadable(f"{path}: cannot be read ({message}); remove it, and make it again")
        return {grid.name for grid in probe.grids}, abs(probe.grids[0].matrix_object[0][0])
    finally:
        bpy.data.volumes.remove(probe)


def material(name, grids):
    """Principled Volume for the grids: density, its color, fire where there is flame."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    nodes.clear()
    output = nodes.new("ShaderNodeOutputMaterial")
    shader = nodes.new("ShaderNodeVolumePrincipled")
    shader.location, output.location = (0, 0), (300, 0)
    shader.inputs["Density Attribute"].default_value = "density"
    shader.inputs["Density"].default_value = 5.0  # as Blender's own Quick Smoke
    shader.inputs["Temperature Attribute"].default_value = ""
    if "color" in grids:
        shader.inputs["Color Attribute"].default_value = "color"
    links.new(shader.outputs["Volume"], output.inputs["Volume"])
    if "flame" in grids:
        flame = nodes.new("ShaderNodeAttribute")
        flame.attribute_name, flame.location = "flame", (-600, -200)
        links.new(flame.outputs["Fac"], shader.inputs["Blackbody Intensity"])
        kelvin = nodes.new("ShaderNodeMapRange")
        kelvin.location = (-300, -300)
        kelvin.inputs["To Min"].default_value, kelvin.inputs["To Max"].default_value = 900.0, 2200.0
        heat = flame
        if "temperature" in grids:
            heat = nodes.new("ShaderNodeAttribute")
            heat.attribute_name, heat.location = "temperature", (-600, -400)
        links.new(heat.outputs["Fac"], kelvin.inputs["Value"])
        links.new(kelvin.outputs["Result"], shader.inputs["Temperature"])
    return made
