"""Run by Blender 4.2 or later: builds the extension with Blender's own tool, installs the zip as a user does, and says
in JSON what happened.

    python clients_blender_extension.py -- FLUIDSR FOLDER SOURCE

SOURCE is the folder of the extension.
"""

import json
import subprocess
import sys
from pathlib import Path

import bpy

program, folder, source = sys.argv[sys.argv.index("--") + 1 :]
folder = Path(folder)
tool = Path(bpy.utils.system_resource("SCRIPTS")) / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
build = ["build", "--source-dir", source, "--output-dir", str(folder)]
subprocess.run([sys.executable, str(tool), *build], check=True)
(path,) = folder.glob("*.zip")
subprocess.run([sys.executable, str(tool), "validate", str(path)], check=True)

reported = {"blender": bpy.app.version_string}
module = "bl_ext.user_default.fluidsr"
bpy.ops.extensions.package_install_files(filepath=str(path), repo="user_default", enable_on_install=True)
addon = sys.modules[module]
found = bpy.context.preferences.addons[module].preferences
reported["place"] = str(addon.preferences.environments())
try:
    bpy.ops.fluidsr.install()
except RuntimeError as error:
    reported["offline"] = str(error).strip()
found.executable = program
reported["test"] = [[*bpy.ops.fluidsr.test()], found.state]
bpy.ops.preferences.addon_disable(module=module)
(folder / "reported.json").write_text(json.dumps(reported))
