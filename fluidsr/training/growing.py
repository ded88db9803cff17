"""Growing: a generator's stages, added one after another while it trains (Karras et al. 2018)."""

from __future__ import annotations

from pydantic import Field

from fluidsr.training.sections import Section


class Growing(Section):
    """Stages of the generator are added one after another, each mixed in over `steps` and kept for as many."""

    steps: int = Field(ge=1, description="Steps in which a stage is mixed in, and in which it then settles")

    def stages_at(self, step: int) -> float:
        """The number of stages in use after `step` steps; not a whole number while a stage is being blended in."""
        complete, steps_of_stage = divmod(step, 2 * self.steps)
        return complete + min(1.0, steps_of_stage / self.steps)

    def steps_of(self, stages: int) -> int:
        """The number of steps until all `stages` are in use and have been trained for as long."""
        return 2 * self.steps * stages
