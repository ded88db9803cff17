"""`fluidsr view`: frames in the browser, served to this machine alone."""

from fluidsr.pipeline.viewer.server import Viewer, view

__all__ = ["Viewer", "view"]
