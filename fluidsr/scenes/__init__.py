"""Scenes: YAML in, frozen and valid objects out; the built-in scenes; random ones for training pairs."""

from fluidsr.scenes.builtin import describe, load, names, source
from fluidsr.scenes.schema import Scene, json_schema
from fluidsr.scenes.yaml_loader import load_yaml_model

__all__ = ["Scene", "describe", "json_schema", "load", "load_yaml_model", "names", "source"]
