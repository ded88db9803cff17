"""What an option may be, each list and each bound once: schemas take the type, checks and the command line its words
(`typing.get_args`)."""

from __future__ import annotations

from typing import Literal

Advection = Literal["maccormack", "semi-lagrangian", "reflection"]
Axes = Literal["y-up", "z-up"]
Format = Literal["vdb", "vti", "npz"]  # of frames, one file or two for each
Control = Literal["density", "temperature", "shear"]  # what a noise force acts on
ConvertedFormat = Literal["vdb", "vti", "npz", "uni", "vtkhdf"]
Naming = Literal["houdini", "blender"]
NetworkPrecision = Literal["auto", "float32", "bfloat16", "float16"]
Pairs = Literal["filtered", "coupled", "closure", "wavelet"]  # of generated datasets
PairKind = Literal["recorded", "filtered", "coupled", "free"]  # that models are evaluated on
Preconditioner = Literal["auto", "box", "none"]
StoredPrecision = Literal["half", "float"]
StyleScore = Literal["enstrophy", "mass", "height", "divergence"]  # of smoke, that a direction is found for
VelocityUnit = Literal["auto", "m/s", "m/frame", "cells/s", "cells/frame", "blender"]

MOST_DETAIL = 4  # factor on what a generator adds; beyond it there are artifacts alone
