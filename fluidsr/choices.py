"""What an option may be, each list and each bound once: schemas take the type, checks and the command line its words
(`typing.get_args`)."""

from __future__ import annotations

from typing import Literal

Advection = Literal["maccormack", "semi-lagrangian", "reflection"]
Augmentation = Literal["none", "symmetries", "affine"]  # of training patches
Axes = Literal["y-up", "z-up"]
Axis = Literal["x", "y", "z"]
Boundary = Literal["closed", "open", "periodic"]  # of a side of the box
CellsAt = Literal["centre", "corner"]  # of a cell, what positions in files refer to
Control = Literal["density", "temperature", "shear"]  # what a noise force acts on
ConvertedFormat = Literal["vdb", "vti", "npz", "uni", "vtkhdf"]
Factor = Literal[2, 4, 8]  # fine cells per coarse cell, along each axis
FeatureForm = Literal["normalised", "published"]  # of the loss in feature spaces
Format = Literal["vdb", "vti", "npz"]  # of frames, one file or two for each
Naming = Literal["houdini", "blender"]
NetworkPrecision = Literal["auto", "float32", "bfloat16", "float16"]
PairKind = Literal["recorded", "filtered", "coupled", "free"]  # that models are evaluated on
Pairs = Literal["filtered", "coupled", "closure", "wavelet"]  # of generated datasets
Preconditioner = Literal["auto", "box", "none"]
Split = Literal["train", "validation", "test"]  # of the simulations of a dataset
StoredPrecision = Literal["half", "float"]
StyleScore = Literal["enstrophy", "mass", "height", "divergence"]  # of smoke, that a direction is found for
TrainingPrecision = Literal["float32", "bfloat16"]
VelocityUnit = Literal["auto", "m/s", "m/frame", "cells/s", "cells/frame", "blender"]

MOST_DETAIL = 4  # factor on what a generator adds; beyond it there are artifacts alone
