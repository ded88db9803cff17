# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences: where fluidsr is, whether it works, and its installation."""

import json
import os
import shutil
import textwrap
from pathlib import Path

import bpy

from . import installation, running, worker
from .client import WorkerError

SOURCE = "FLUIDSR_PACKAGE"  # the environment variable with the default of Install From
_CHARACTER = 7.0  # pixels, on average, without scaling


def preferences(context):
    """The preferences of this add-on."""
    return context.preferences.addons[__package__].preferences


def command(context):
    """The program of fluidsr: as set, else that of Install, else that on the search path."""
    given = bpy.path.abspath(preferences(context).executable)
    return given or str(installation.newest_program(environments()) or shutil.which("fluidsr") or "")


def environments():
    """The folder of the Python environments that Install makes."""
    if hasattr(bpy.utils, "extension_path_user") and __package__.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(__package__))
    return Path(bpy.utils.user_resource("DATAFILES", path="fluidsr"))


def online():
    """Whether Blender may use the network; before 4.2 there is no such setting."""
    return getattr(bpy.app, "online_access", True)


def characters_across(context):
    """Characters of a label that fit beside each other into the Preferences, which cut off what is longer."""
    return max(30, int(context.region.width / (_CHARACTER * context.preferences.system.ui_scale)) - 10)


class FluidsrPreferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    executable: bpy.props.StringProperty(
        name="fluidsr Program",
        subtype="FILE_PATH",
        description="Path of the fluidsr program. If empty, the one that Install made, or the one on the search path",
    )
    source: bpy.props.StringProperty(
        name="Install From",
        default=os.environ.get(SOURCE, "fluidsr"),
        description="What Install installs: a folder with the source of fluidsr, a wheel, an address, or a package"
        f" name. The environment variable {SOURCE} sets the default",
    )
    python: bpy.props.StringProperty(
        name="Python",
        subtype="FILE_PATH",
        description=f"Python {installation.VERSIONS} for Install. If empty, Blender's own, or one on the search path",
    )
    models: bpy.props.StringProperty(options={"HIDDEN"})  # JSON: names, as of the last test
    state: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def draw(self, context):
        layout = self.layout
        layout.prop(self, "executable")
        layout.operator("fluidsr.test", icon="CHECKMARK")
        layout.prop(self, "source")
        layout.prop(self, "python")
        if running.install is not None:
            row = layout.row()
            row.label(text=f"{running.install.text} ({round(running.install.seconds)} s)", icon="SORTTIME")
            row.operator("fluidsr.cancel_install", icon="CANCEL")
            return
        row = layout.row()
        row.enabled = online()
        row.operator("fluidsr.install", icon="IMPORT")
        if not online():
            layout.label(text="Install needs online access: Preferences > System > Network", icon="INFO")
        column = layout.column(align=True)
        for line in textwrap.wrap(self.state, characters_across(context)):
            column.label(text=line)


class FLUIDSR_OT_test(bpy.types.Operator):
    bl_idname = "fluidsr.test"
    bl_label = "Test"
    bl_description = "Start fluidsr, and show its version and models"

    def execute(self, context):
        found = preferences(context)
        try:
            client = worker.client(command(context))
            client.wait_until_ready(60)
            cards = client.call("models")
        except WorkerError as error:
            found.state = str(error)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        names = [name for name, card in cards.items() if card["dim"] == 3]
        found.models = json.dumps(names)
        found.state = f"fluidsr {client.ready['version']}: {', '.join(names)}"
        self.report({"INFO"}, found.state)
        return {"FINISHED"}


class FLUIDSR_OT_install(bpy.types.Operator):
    bl_idname = "fluidsr.install"
    bl_label = "Install"
    bl_description = "Install fluidsr and PyTorch into a separate Python environment"

    def invoke(self, context, event):
        problem = self._prepare(context)
        if problem:
            self.report({"ERROR"}, problem)
            return {"CANCELLED"}
        return context.window_manager.invoke_props_dialog(self, width=560)

    def draw(self, context):
        self.layout.label(
            text=f"Download {self._source} and PyTorch: several hundred MB, or several GB with CUDA."
        )
        self.layout.label(text=f"Everything is installed into {environments()}")
        self.layout.label(text=f"by {self._python}; nothing else is changed.")

    def execute(self, context):
        problem = self._prepare(context)
        if problem:
            self.report({"ERROR"}, problem)
            return {"CANCELLED"}
        running.install = installation.Installation(self._python, self._source, environments())
        preferences(context).state = ""
        if bpy.app.background:
            running.install.wait()
            return self._end(context)
        self._timer = context.window_manager.event_timer_add(0.5, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        if event.type == "ESC" and event.value == "PRESS":
            running.install.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        redraw(context)
        if not running.install.done:
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self._end(context)

    def cancel(self, context):
        """Blender ends the operator itself, when its window is closed or another file is loaded; the installation goes
        on."""
        bpy.app.timers.register(_conclude_later)

    def _prepare(self, context):
        """Choose what is installed by what; what prevents it, in one line."""
        if running.install is not None:
            return "Install: is running; wait for its end, or stop it with Cancel"
        if running.request is not None:
            return "Install: fluidsr is at work; wait for its end, or stop it with Esc"
        if not online():
            return "Install: online access is off; allow it in Preferences > System > Network"
        found = preferences(context)
        source = found.source.strip() or "fluidsr"
        self._source = bpy.path.abspath(source) if source.startswith("//") else source
        try:
            self._python = installation.find_python(bpy.path.abspath(found.python))
        except installation.Failed as error:
            return f"Install: {error}"
        return ""

    def _end(self, context):
        cancelled = running.install.cancelled
        if not conclude(context):
            self.report({"WARNING" if cancelled else "ERROR"}, preferences(context).state)
            return {"CANCELLED"}
        try:
            return bpy.ops.fluidsr.test()
        except RuntimeError as error:  # what Test has reported
            self.report({"ERROR"}, str(error).removeprefix("Error: ").strip())
            return {"CANCELLED"}


class FLUIDSR_OT_cancel_install(bpy.types.Operator):
    bl_idname = "fluidsr.cancel_install"
    bl_label = "Cancel"
    bl_description = "Stop the installation, and remove what it has installed so far"

    @classmethod
    def poll(cls, context):
        return running.install is not None

    def execute(self, context):
        running.install.cancel()
        return {"FINISHED"}


def conclude(context):
    """Use what the installation has made, in place of those before it; whether it has made anything."""
    ended, running.install = running.install, None
    found = preferences(context)
    if ended.program is None:
        found.state = f"Install failed: {ended.error}"
        if ended.cancelled:
            found.state = "Install: stopped; all is as it was before"
        return False
    worker.stop()
    found.executable = str(ended.program)
    context.preferences.is_dirty = True
    installation.remove_others(ended.program)
    found.state = f"installed: {ended.program}"
    return True


def _conclude_later():
    if running.install is None:
        return None
    redraw(bpy.context)
    if not running.install.done:
        return 0.5
    conclude(bpy.context)
    redraw(bpy.context)
    return None


def redraw(context):
    """Show the preferences as they are now."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()


def stop():
    """End an installation that goes on."""
    if running.install is not None:
        running.install.cancel()
        running.install.wait()


CLASSES = (FluidsrPreferences, FLUIDSR_OT_test, FLUIDSR_OT_install, FLUIDSR_OT_cancel_install)
