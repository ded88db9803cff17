"""TrainingState: all that changes from step to step, and its one file on disk."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from fluidsr.atomic import replacing
from fluidsr.errors import InputError
from fluidsr.models import SmokeGenerator
from fluidsr.training.recipe import Recipe

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of a parameter


class TrainingState:
    """Generator, averaged generator, optimizer, step count, and the ranges of the data seen.

    Nothing here draws random numbers after the start, and a batch is a function of the step alone: going on
    from a saved state repeats an uninterrupted run to the bit, on the same machine and thread count.
    """

    def __init__(self, recipe: Recipe, seed: int, device: str) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = SmokeGenerator(recipe.dim, recipe.factor, **recipe.generator.model_dump())
        self.generator = generator.to(device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        options = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            self.generator.parameters(),
            lr=options.learning_rate,
            betas=options.betas,
            weight_decay=options.weight_decay,
        )
        self.step = 0
        self.seconds = 0.0
        self.density_range = (0.0, 0.0)
        self.velocity_range = (0.0, 0.0)

    def see(self, coarse: Tensor) -> None:
        """Widen the ranges by a batch's `coarse [B, T, 1 + d, *S]`."""
        self.density_range = _widen(self.density_range, coarse[:, :, :1])
        self.velocity_range = _widen(self.velocity_range, coarse[:, :, 1:])

    @torch.no_grad()
    def follow(self) -> None:
        """Move the averaged weights towards the current ones; faster in the first steps, when all is new."""
        decay = min(self.recipe.optimizer.average, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)

    def save(self, path: Path) -> None:
        """Write everything to one safetensors file, complete or not at all. Raises InputError, RunError."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.generator.named_parameters():
            tensors[f"generator.{name}"] = parameter
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{moment}.{name}"] = value
        for name, parameter in self.average.named_parameters():
            tensors[f"average.{name}"] = parameter
        record = {
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
            "density_range": self.density_range,
            "velocity_range": self.velocity_range,
        }
        host = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        with replacing(path) as temporary:
            temporary.write_bytes(to_bytes(host, metadata={"state": json.dumps(record)}))

    def restore(self, path: Path) -> None:
        """Go on from a file of `save`. Raises InputError where it is damaged or of another recipe or seed."""
        try:
            with safe_open(path, framework="pt", device=self.device) as file:
                record = json.loads((file.metadata() or {})["state"])
                self._check(path, record)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self._take(tensors)
            self.step, self.seconds = int(record["step"]), float(record["seconds"])
            self.density_range = _pair(record["density_range"])
            self.velocity_range = _pair(record["velocity_range"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            what = f"cannot be used ({type(error).__name__}: {error})"
            raise InputError(
                str(path), what.splitlines()[0], "train into another folder, or use --overwrite"
            ) from error

    def _check(self, path: Path, record: dict[str, Any]) -> None:
        """How long to train, and how often to report, may differ; what is trained may not."""
        free = {"steps", "log_every", "validate_every", "checkpoint_every", "summary", "limits"}
        there = {"seed": record["seed"], **_flat(record["recipe"])}
        here = {"seed": self.seed, **_flat(self.recipe.model_dump(mode="json"))}
        for key in sorted({*there, *here} - free):
            if there.get(key) != here.get(key):
                raise InputError(
                    str(path.parent),
                    f"holds a training with {key} = {there.get(key)}, and {here.get(key)} is asked for",
                    "give another --output, or --overwrite",
                )

    def _take(self, tensors: dict[str, Tensor]) -> None:
        named = dict(self.generator.named_parameters())
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(tensors[f"generator.{name}"])
            for name, parameter in self.average.named_parameters():
                parameter.copy_(tensors[f"average.{name}"])
        moments = {
            i: {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS}
            for i, name in enumerate(named)
            if f"step.{name}" in tensors
        }
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _widen(known: tuple[float, float], values: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(values)
    return min(known[0], low.item()), max(known[1], high.item())


def _pair(values: Any) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat
