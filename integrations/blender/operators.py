# SPDX-License-Identifier: GPL-3.0-or-later
"""Upsample Bake, Simulate Here, and Import Result."""

import re
import time
from pathlib import Path

import bpy

from . import fluid_objects, preferences, running, scene_file, volume, worker
from .client import WorkerError
from .fluid_objects import domain_of
from .worker import Run

SUBFOLDERS = {
    "UPSAMPLE": "fluidsr",
    "SIMULATE": "fluidsr_simulation",
}  # of the domain's cache, where Output is empty

LABELS = {
    "model": "Model",
    "detail": "Detail",
    "style_seed": "Style Seed",
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


def output_folder(thing, kind):
    """The folder of the frames that the button of this `kind` (`UPSAMPLE`, `SIMULATE`) makes. Raises Refused."""
    given = bpy.path.abspath(thing.fluidsr.output or domain_of(thing).cache_directory)
    if not Path(given).is_absolute():
        raise Refused("the folder of the frames is unknown; save the .blend file, or give an absolute Output")
    return Path(given) if thing.fluidsr.output else Path(given) / SUBFOLDERS[kind]


def common_arguments(thing):
    """The arguments that the worker's requests `upsample` and `simulate` have in common."""
    properties = thing.fluidsr
    arguments = {
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


def upscaling_of(thing):
    """The model, a name or a path, and how strongly it acts."""
    properties = thing.fluidsr
    model = bpy.path.abspath(properties.model) if properties.model.startswith("//") else properties.model
    how = {"model": model, "detail": properties.detail, "velocity_scale": properties.velocity_scale}
    if properties.style_seed:  # a model without a latent code refuses any
        how["style_seed"] = properties.style_seed
    return how


def upsample_arguments(thing):
    """The arguments of the worker's request `upsample`. Raises Refused."""
    return {
        "inputs": [str(cache_folder(thing))],
        "output": str(output_folder(thing, "UPSAMPLE")),
        **upscaling_of(thing),
        **common_arguments(thing),
    }


def simulate_arguments(context, thing):
    """The arguments of the worker's request `simulate`, whose scene file is written; notes for the user; and the
    names of the objects in it. Raises Refused."""
    settings = domain_of(thing)
    output, arguments = output_folder(thing, "SIMULATE"), common_arguments(thing)
    try:
        domain, flows, effectors, notes = fluid_objects.collect(context, thing, settings)
        made = scene_file.translate(domain, flows, effectors, upscaling_of(thing))
        path = scene_file.write(made, output.with_name(f"{output.name}_scene"))
    except scene_file.Untranslatable as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(
            f"{error.filename}: cannot be written ({error.strerror}); give another Output"
        ) from None
    arguments |= {"scene": str(path), "output": str(output), "start_frame": settings.cache_frame_start}
    return arguments, notes + made.notes, made.names


class WorkerOperator:
    """An operator that has the worker do something: in a window, Blender can be used meanwhile; without one, the
    operator returns at the end.

    `_run(context, thing)` starts the request and returns its Run, `_finished(context, domain, frames)` does what
    follows.
    """

    @classmethod
    def poll(cls, context):
        if running.request is not None:
            cls.poll_message_set("fluidsr is at work; wait for its end, or stop it with Esc")
        elif running.install is not None:
            cls.poll_message_set("fluidsr is being installed; wait for the end")
        elif domain_of(context.object) is None:
            cls.poll_message_set("no gas domain is selected; select the domain of the smoke")
        else:
            return True
        return False

    def _start(self, context):
        self._domain = context.object.name  # an undo makes objects anew
        try:
            running.request = self._run(context, context.object)
        except (Refused, WorkerError) as error:
            self.report({"ERROR"}, str(error))
            return False
        context.object.fluidsr.made_by = self.kind
        return True

    def execute(self, context):
        """Without a window: wait for the end."""
        if not self._start(context):
            return {"CANCELLED"}
        while not running.request.done:
            running.request.step()
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
            running.request.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        running.request.step()
        context.window_manager.progress_update(round(100 * running.request.fraction))
        context.workspace.status_text_set(f"fluidsr: {running.request.text} (Esc stops)")
        for area in context.screen.areas:
            if area.type == "PROPERTIES":
                area.tag_redraw()
        if not running.request.done:
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)
        return self._end(context)

    def cancel(self, context):
        """Blender ends the operator itself, when another file is loaded."""
        running.request.cancel()
        running.request = None

    def _end(self, context):
        run, running.request = running.request, None
        for note in run.notes:
            self.report({"WARNING"}, note)
        if run.cancelled:
            self.report({"WARNING"}, "stopped; completed frames are kept, and the same button resumes")
            return {"CANCELLED"}
        if run.error:
            self.report({"ERROR"}, self._message(run.error))
            return {"CANCELLED"}
        domain = bpy.data.objects.get(self._domain)
        if domain_of(domain) is None:
            self.report({"WARNING"}, f"{run.result['frames']}: done; the domain {self._domain} is gone")
            return {"CANCELLED"}
        domain.fluidsr.overwrite = False
        return self._finished(context, domain, run.result["frames"])

    def _message(self, error):
        return in_words_of_the_panel(error)


class FLUIDSR_OT_upsample(WorkerOperator, bpy.types.Operator):
    bl_idname = "fluidsr.upsample"
    bl_label = "Upsample Bake"
    bl_description = "Upsample the baked frames with the network. Esc stops; the same button resumes"
    kind = "UPSAMPLE"

    def _run(self, context, thing):
        return Run(preferences.command(context), "upsample", **upsample_arguments(thing))

    def _finished(self, context, domain, frames):
        self.report({"INFO"}, f"{frames}: done; click Import Result to import them")
        return {"FINISHED"}


class FLUIDSR_OT_simulate(WorkerOperator, bpy.types.Operator):
    bl_idname = "fluidsr.simulate"
    bl_label = "Simulate Here"
    bl_description = (
        "Simulate the domain with fluidsr, without a bake, upsample the frames with the network and import them."
        " Esc stops; the same button resumes"
    )
    bl_options = {"UNDO"}
    kind = "SIMULATE"

    def _run(self, context, thing):
        program = preferences.command(context)
        worker.client(program)  # a wrong path is told before anything is written
        arguments, notes, self._names = simulate_arguments(context, thing)
        for note in notes:
            self.report({"WARNING"}, note)
        return Run(program, "simulate", **arguments)

    def _message(self, error):
        return scene_file.in_names_of_objects(in_words_of_the_panel(error), self._names)

    def _finished(self, context, domain, frames):
        return import_result(self, context, domain)


class FLUIDSR_OT_import_result(bpy.types.Operator):
    bl_idname = "fluidsr.import_result"
    bl_label = "Import Result"
    bl_description = (
        "Import the frames of the last run as one volume, in the place of the domain and with a material"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return domain_of(context.object) is not None

    def execute(self, context):
        return import_result(self, context, context.object)


def import_result(operator, context, domain):
    """Import the frames of a domain's last run, and hide the domain."""
    kind = domain.fluidsr.made_by
    try:
        frames = numbered(output_folder(domain, kind) / "frames")
        if kind == "SIMULATE":  # its files begin at 0, in the domain's corner
            corner, speed = fluid_objects.box_of(domain)[0], domain_of(domain).time_scale
        else:
            corner, speed = (0.0, 0.0, 0.0), 1.0
        made = volume.sequence(frames, domain.name, domain.fluidsr.volume, corner, speed)
    except (Refused, volume.Unreadable) as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    if made.name not in context.collection.objects and not made.users_collection:
        context.collection.objects.link(made)
    domain.fluidsr.volume = made
    domain.hide_render = True
    domain.hide_set(True)
    operator.report({"INFO"}, f"{made.name}: {len(frames)} frames")
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
        raise Refused(f"{folder}: holds no volumes; press Upsample Bake or Simulate Here first")
    return dict(sorted(files.items()))


CLASSES = (FLUIDSR_OT_upsample, FLUIDSR_OT_simulate, FLUIDSR_OT_import_result)
