# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences: where fluidsr is, whether it works, and its installation."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import bpy

from . import worker
from .client import WorkerError


def preferences(context):
    """The preferences of this add-on."""
    return context.preferences.addons[__package__].preferences


def command(context):
    """The program of fluidsr: as set, else that on the search path, else that of Install."""
    given = bpy.path.abspath(preferences(context).executable)
    if given:
        return given
    own = environment() / ("Scripts/fluidsr.exe" if sys.platform == "win32" else "bin/fluidsr")
    return str(own) if own.exists() else shutil.which("fluidsr") or ""


def environment():
    """The folder of the Python environment that Install makes."""
    if hasattr(bpy.utils, "extension_path_user") and __package__.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(__package__, path="environment"))
    return Path(bpy.utils.user_resource("DATAFILES", path="fluidsr_environment"))


def online():
    """Whether Blender may use the network; before 4.2 there is no such setting."""
    return getattr(bpy.app, "online_access", True)


class FluidsrPreferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    executable: bpy.props.StringProperty(
        name="fluidsr",
        subtype="FILE_PATH",
        description="Path of the fluidsr program. Empty: the one on the search path, or the one that Install made",
    )
    source: bpy.props.StringProperty(
        name="Install From",
        default="fluidsr",
        subtype="FILE_PATH",
        description="What pip installs: a folder with fluidsr's source, a wheel, or a package's name",
    )
    models: bpy.props.StringProperty(options={"HIDDEN"})  # JSON: names, as of the last test
    state: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def draw(self, context):
        layout = self.layout
        layout.prop(self, "executable")
        layout.operator("fluidsr.test", icon="CHECKMARK")
        layout.prop(self, "source")
        row = layout.row()
        row.enabled = online()
        row.operator("fluidsr.install", icon="IMPORT")
        if not online():
            layout.label(text="Install needs online access: Preferences > System > Network", icon="INFO")
        if self.state:
            layout.label(text=self.state)


class FLUIDSR_OT_test(bpy.types.Operator):
    bl_idname = "fluidsr.test"
    bl_label = "Test"
    bl_description = "Start fluidsr and show its version and models"

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
    bl_description = "Install fluidsr and PyTorch into a Python environment of their own"

    _thread = _timer = None

    def invoke(self, context, event):
        return context.window_manager.invoke_props_dialog(self, width=480)

    def draw(self, context):
        self.layout.label(text="Download fluidsr and PyTorch (several hundred MB, with CUDA several GB) into")
        self.layout.label(text=f"{environment()} ?")

    def execute(self, context):
        if not online():
            self.report(
                {"ERROR"}, "Install: online access is off; allow it in Preferences > System > Network"
            )
            return {"CANCELLED"}
        source = preferences(context).source
        source = bpy.path.abspath(source) if source.startswith("//") else source
        self._problem = None
        self._thread = threading.Thread(target=self._install, args=(source, environment()), daemon=True)
        self._thread.start()
        if bpy.app.background:
            self._thread.join()
            return self._finish(context)
        preferences(context).state = "installing ..."
        self._timer = context.window_manager.event_timer_add(0.5, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        if event.type != "TIMER" or self._thread.is_alive():
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self._finish(context)

    def _install(self, source, folder):
        try:
            for arguments in install_commands(source, folder):
                done = subprocess.run(arguments, capture_output=True, text=True, check=False)
                if done.returncode:
                    lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
                    self._problem = f"{Path(arguments[0]).name}: {lines[-1]}"
                    return
        except OSError as error:
            self._problem = f"{arguments[0]}: cannot be run ({error.strerror})"

    def _finish(self, context):
        if self._problem:
            preferences(context).state = f"Install failed: {self._problem}"
            self.report({"ERROR"}, preferences(context).state)
            return {"CANCELLED"}
        return bpy.ops.fluidsr.test()


def install_commands(source, folder):
    """The commands that install `source` into a new Python environment in `folder`."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    yield [sys.executable, "-m", "venv", "--clear", str(folder)]
    yield [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--", source]


CLASSES = (FluidsrPreferences, FLUIDSR_OT_test, FLUIDSR_OT_install)
