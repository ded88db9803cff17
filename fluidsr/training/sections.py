"""The base class of a recipe's sections, and bounded numbers for their keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Signed = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Accuracy = Annotated[float, Field(ge=0.5, le=1)]
Width = Annotated[int, Field(ge=1, le=1024)]
Count = Annotated[int, Field(ge=0, le=1024)]


class Section(BaseModel):
    """The base class of sections: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
