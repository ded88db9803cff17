# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel in Properties > Physics > Fluid of a gas domain, and what is set there."""

import json

import bpy

from . import running
from .fluid_objects import domain_of
from .preferences import preferences


def _model_names(properties, context, text):
    names = json.loads(preferences(context).models or "[]") or ["smoke3d-x4", "smoke3d-x4-gan"]
    return [name for name in names if text in name]


class UpsampleProperties(bpy.types.PropertyGroup):
    """What `fluidsr upsample` and `fluidsr simulate` are told about a domain."""

    model: bpy.props.StringProperty(
        name="Model",
        default="smoke3d-x4",
        search=_model_names,
        description="Network that upsamples the smoke: the name of a shipped model, or a .safetensors file."
        " With 'none', Simulate Here leaves the frames coarse",
    )
    detail: bpy.props.FloatProperty(
        name="Detail",
        default=1.0,
        min=0.0,
        max=4.0,
        soft_max=2.0,
        description="Factor on the detail that the network adds: 0 is smooth interpolation, 1 the model's own detail,"
        " 2 twice as much",
    )
    style_seed: bpy.props.IntProperty(
        name="Style Seed",
        default=0,
        min=0,
        description="Another seed gives other detail of the same smoke. Only for models with styles, such as"
        " smoke3d-x4-style; the others need 0",
    )
    velocity_scale: bpy.props.FloatProperty(
        name="Velocity Scale",
        default=1.0,
        min=0.0,
        soft_max=2.0,
        description="Factor on the velocity that the network sees. Change it if the cache's velocity is wrong; to"
        " change the amount of detail, use Detail",
    )
    precision: bpy.props.EnumProperty(
        name="Precision",
        items=[
            ("float32", "Float", "32 bits, the most accurate"),
            ("bfloat16", "Bfloat16", "16 bits, faster on hardware that supports it"),
            ("float16", "Half", "16 bits, faster on GPUs"),
        ],
    )
    max_memory: bpy.props.FloatProperty(
        name="Memory (GB)",
        default=0.0,
        min=0.0,
        soft_max=64.0,
        description="Limit for the memory of the network. 0 means 2 GB on a CPU, or half of the GPU's memory",
    )
    use_range: bpy.props.BoolProperty(
        name="Frame Range", description="Process only the frames from First to Last"
    )
    first: bpy.props.IntProperty(name="First", default=1, min=0, description="First frame to process")
    last: bpy.props.IntProperty(name="Last", default=250, min=0, description="Last frame to process")
    output: bpy.props.StringProperty(
        name="Output",
        subtype="DIR_PATH",
        description="Folder for the fine frames. If empty, a folder in the domain's cache: 'fluidsr' for a bake,"
        " 'fluidsr_simulation' for Simulate Here",
    )
    overwrite: bpy.props.BoolProperty(
        name="Replace",
        description="Replace the frames in the output folder that were made with other settings",
        options={"SKIP_SAVE"},
    )
    made_by: bpy.props.EnumProperty(
        items=[("UPSAMPLE", "Upsample Bake", ""), ("SIMULATE", "Simulate Here", "")],
        options={"HIDDEN"},
    )  # the last run
    volume: bpy.props.PointerProperty(type=bpy.types.Object, options={"HIDDEN"})  # of the last import


class FLUIDSR_PT_upsample(bpy.types.Panel):
    bl_label = "fluidsr"
    bl_parent_id = "PHYSICS_PT_fluid"
    bl_space_type, bl_region_type, bl_context = "PROPERTIES", "WINDOW", "physics"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return domain_of(context.object) is not None

    def draw(self, context):
        layout, properties = self.layout, context.object.fluidsr
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.enabled = running.request is None
        for name in (
            "model",
            "detail",
            "style_seed",
            "velocity_scale",
            "precision",
            "max_memory",
            "use_range",
        ):
            column.prop(properties, name)
        if properties.use_range:
            column.prop(properties, "first")
            column.prop(properties, "last")
        column.prop(properties, "output")
        column.prop(properties, "overwrite")
        if running.request is None:
            layout.operator("fluidsr.upsample", icon="MOD_FLUIDSIM")
            layout.operator("fluidsr.simulate", icon="PLAY")
        elif hasattr(layout, "progress"):
            layout.progress(factor=running.request.fraction, text=f"{running.request.text} (Esc stops)")
        else:
            layout.label(
                text=f"{round(100 * running.request.fraction)} %: {running.request.text} (Esc stops)"
            )
        layout.operator("fluidsr.import_result", icon="VOLUME_DATA")


CLASSES = (UpsampleProperties, FLUIDSR_PT_upsample)
