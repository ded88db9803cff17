# SPDX-License-Identifier: GPL-3.0-or-later
"""fluidsr in Blender: baked or simulated smoke through a trained network, and back in place as volumes.

Thin: all computing is done by an installed fluidsr, which runs as a process of its own (`fluidsr serve`).
"""

import bpy

from . import operators, panel, preferences, worker

bl_info = {  # for Blender before 4.2; blender_manifest.toml otherwise
    "name": "fluidsr",
    "author": "The fluidsr authors",
    "version": (0, 2, 0),
    "blender": (3, 4, 0),
    "location": "Properties > Physics > Fluid > fluidsr",
    "description": "Simulate smoke and fire, or upsample a bake, with trained networks",
    "category": "Physics",
}

CLASSES = (*preferences.CLASSES, *panel.CLASSES, *operators.CLASSES)


def register():
    for each in CLASSES:
        bpy.utils.register_class(each)
    bpy.types.Object.fluidsr = bpy.props.PointerProperty(type=panel.UpsampleProperties)


def unregister():
    worker.stop()
    del bpy.types.Object.fluidsr
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
