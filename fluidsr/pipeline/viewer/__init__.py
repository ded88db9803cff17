"""`fluidsr view`: frames in the browser, served to this machine only."""

from fluidsr.pipeline.viewer.server import Viewer, view

__all__ = ["Viewer", "view"]
