# SPDX-License-Identifier: GPL-3.0-or-later
"""Upsample Bake, and Import Result."""

import re
import time
from pathlib import Path

import bpy

from . import volume
from .client import WorkerError
from .panel import domain_of
from .preferences import command
from .worker import Run

current = None  # the Run that goes on


LABELS = {
    "model": "Model",
    "detail": "Detail",
    "velocity_scale": "Velocity Scale",
    "precision": "Precision",
    "max_memory": "Memory",
    "frames": "Frame Range",
    "output": "Output",
    "overwrite": "Replace",
}


class Refused(Exception):
    """What was asked for cannot be done; the text is for the user."""


def cache_folder(thing):
    """The folder with the frames of a domain's bake. Raises Refused where there are none."""
    settings = domain_of(thing)
    if settings is None:
        raise Refused("no gas domain is selected; select the domain of the smoke")
    folder = Path(bpy.path.abspath(settings.cache_directory)) / "data"
    if not (folder.is_dir() and any(folder.iterdir())):
        raise Refused(f"{folder}: holds no baked frames; bake the domain first (Cache > Bake)")
    return folder


def output_folder(thing):
    """The folder that Upsample Bake writes into."""
    given = thing.fluidsr.output
    return Path(bpy.path.abspath(given)) if given else cache_folder(thing).parent / "fluidsr"


def arguments_of(thing):
    """The arguments of the worker's request `upsample`."""
    properties = thing.fluidsr
    arguments = {
        "inputs": [str(cache_folder(thing))],
        "output": str(output_folder(thing)),
        "model": properties.model,
        "detail": properties.detail,
        "velocity_scale": properties.velocity_scale,
        "precision": properties.precision,
        "formats": ["vdb"],
        "overwrite": properties.overwrite,
    }
    if properties.max_memory > 0:
        arguments["max_memory"] = int(properties.max_memory * 1024**3)
    if properties.use_range:
        if properties.last < properties.first:
            raise Refused(f"frame range: {properties.last} is before {properties.first}; give First and Last")
        arguments["frames"] = f"{properties.first}-{properties.last}"
    return arguments


class FLUIDSR_OT_upsample(bpy.types.Operator):
    bl_idname = "fluidsr.upsample"
    bl_label = "Upsample Bake"
    bl_description = "Upsample the baked frames with the network. Esc stops; the same again goes on"

    @classmethod
    def poll(cls, context):
        return domain_of(context.object) is not None and current is None

    def _start(self, context):
        global current
        try:
            current = Run(command(context), "upsample", **arguments_of(context.object))
        except (Refused, WorkerError) as error:
            self.report({"ERROR"}, str(error))
            return False
        self._domain = context.object
        return True

    def execute(self, context):
        """Without a window: wait for the end."""
        if not self._start(context):
            return {"CANCELLED"}
        while not current.done:
            current.step()
            time.sleep(0.05)
        return self._end(context)

    def invoke(self, context, event):
        if bpy.app.background:
            return self.execute(context)
        if not self._start(context):
            return {"CANCELLED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(0.2, window=context.window)
        manager.progress_begin(0, 100)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        if event.type == "ESC" and event.value == "PRESS":
            current.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        current.step()
        context.window_manager.progress_update(round(100 * current.fraction))
        context.workspace.status_text_set(f"fluidsr: {current.text} (Esc stops)")
        for area in context.screen.areas:
            if area.type == "PROPERTIES":
                area.tag_redraw()
        if not current.done:
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)
        return self._end(context)

    def cancel(self, context):
        """Blender ends the operator itself, when another file is loaded."""
        global current
        current.cancel()
        current = None

    def _end(self, context):
        global current
        run, current = current, None
        for note in run.notes:
            self.report({"WARNING"}, note)
        if run.cancelled:
            self.report({"WARNING"}, "stopped; completed frames were kept. The same again goes on")
            return {"CANCELLED"}
        if run.error:
            self.report({"ERROR"}, in_words_of_the_panel(run.error))
            return {"CANCELLED"}
        self._domain.fluidsr.overwrite = False
        self.report({"INFO"}, f"{run.result['frames']}: done; Import Result brings them in")
        return {"FINISHED"}


class FLUIDSR_OT_import_result(bpy.types.Operator):
    bl_idname = "fluidsr.import_result"
    bl_label = "Import Result"
    bl_description = "Bring the upsampled frames in as a volume in the place of the domain, with a material"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return domain_of(context.object) is not None

    def execute(self, context):
        domain = context.object
        try:
            frames = numbered(output_folder(domain) / "frames")
            made = volume.sequence(frames, domain.name, domain.fluidsr.volume)
        except (Refused, volume.Unreadable) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if made.name not in context.collection.objects and not made.users_collection:
            context.collection.objects.link(made)
        domain.fluidsr.volume = made
        domain.hide_render = True
        domain.hide_set(True)
        self.report({"INFO"}, f"{made.name}: {len(frames)} frames")
        return {"FINISHED"}


def in_words_of_the_panel(message):
    """An error of the library, whose parameters stand in backticks, with the panel's names for them."""
    return re.sub(r"`(\w+)`", lambda match: LABELS.get(match[1], match[0]), message)


def numbered(folder):
    """The VDB files of a folder by their numbers. Raises Refused where there are none."""
    files = {
        int(match[1]): file
        for file in folder.glob("*.vdb")
        if (match := re.search(r"(\d+)\.vdb$", file.name))
    }
    if not files:
        raise Refused(f"{folder}: holds no volumes; press Upsample Bake first")
    return dict(sorted(files.items()))


CLASSES = (FLUIDSR_OT_upsample, FLUIDSR_OT_import_result)
