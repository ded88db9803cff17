"""The requests of a worker. Each is a function whose parameters are the arguments of the request."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from fluidsr.errors import InputError
from fluidsr.pipeline import api
from fluidsr.pipeline.inference_settings import InferenceSettings
from fluidsr.pipeline.worker.shared_arrays import SharedArray, SharedArrays

if TYPE_CHECKING:
    from fluidsr.frame import Frame

PROTOCOL = 1  # incremented by a change that older clients do not understand

_STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=False)


class Request(BaseModel):
    """One line that a client sends. The client chooses `id`, and every event about the request has it."""

    model_config = _STRICT

    id: Annotated[str, Field(max_length=64)] | int
    request: str = Field(max_length=64)
    arguments: dict[str, Any] = {}


def upsample(**arguments: Any) -> dict[str, Any]:
    """Upsample volume files into a folder, as `fluidsr.upsample` does. Returns the paths `output` and `frames`."""
    folder = api.upsample(**arguments, quiet=False)
    return {"output": str(folder.absolute()), "frames": str((folder / "frames").absolute())}


def upsample_arrays(
    arrays: dict[str, SharedArray],
    result: dict[str, SharedArray],
    *,
    model: str = "smoke3d-x4",
    cell_size: float = 1.0,
    dt: float = 1.0 / 24.0,
    detail: float = 1.0,
    velocity_scale: float = 1.0,
    style_seed: int | None = None,
    previous: SharedArray | None = None,
    tile: int | str = "auto",
    max_memory: int | None = None,
    precision: str = "float32",
    device: str = "auto",
) -> dict[str, Any]:
    """Upsample the fields of one frame, from shared memory to shared memory, as `Upscaler.upsample` does.

    Args:
        arrays: the coarse fields: `density` `[x, y, z]`, `velocity` `[3, x, y, z]` in m/s, and others.
        result: the fine fields to compute, whose names are in `arrays`; also `confidence`, for a model with a mask.
            Each axis of the grid is `factor` times as long as in `arrays`.
        model: a shipped name or a path.
        cell_size: of the coarse grid, m.
        dt: time step of the frame, s.
        detail: factor on the detail that the model adds.
        velocity_scale: factor on the velocity that the model reads.
        style_seed: seed of the style, for a model with a latent code.
        previous: density of the last fine frame, for a model that reads it.
        tile: largest edge of a tile, coarse cells, or `auto`.
        max_memory: limit for the memory of a tile, bytes.
        precision: of the network.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    On return `result` holds the fine fields; voxels without smoke are zero. Returns the fine `shape`, and `seconds`.
    Raises InputError for missing arrays and for shapes that do not fit.
    """
    from fluidsr.frame import CONFIDENCE, Frame

    upscaler = InferenceSettings(tile, max_memory, precision).load(model, device)
    if "density" not in arrays:
        raise InputError("arrays", "has no density", "add an array named density")
    with SharedArrays(arrays) as coarse, SharedArrays(result) as fine:
        fields = {name: coarse.copy(name) for name in arrays}
        frame = Frame(fields["density"], cell_size=cell_size, dt=dt).with_fields(fields)
        fine_shape = upscaler.fine_shape(frame.shape)
        for name, array in result.items():
            if name not in fields and name != CONFIDENCE:
                raise InputError(
                    f"result: {name}",
                    "is not a field of `arrays`",
                    "add it there, or leave it out of `result`",
                )
            expected = [*(fields[name].shape[: -frame.dim] if name in fields else ()), *fine_shape]
            if array.shape != expected:
                raise InputError(f"result: {name}", f"shape {array.shape} does not fit", f"give {expected}")
            fine.put(name, 0.0)  # no block is yielded for empty space
        for name, box, values in upscaler.pieces(
            frame,
            detail=detail,
            velocity_scale=velocity_scale,
            fields=list(result),
            style_seed=style_seed,
            previous=_previous(previous, frame, fine_shape),
        ):
            if name in result:
                fine.put(name, values.cpu().numpy(), (..., *box.slices))
    return {"shape": list(fine_shape), "seconds": upscaler.statistics.seconds}


def _previous(array: SharedArray | None, coarse: Frame, fine_shape: Sequence[int]) -> Frame | None:
    """The last fine frame, from its density in shared memory. Raises InputError if its shape is not `fine_shape`."""
    from fluidsr.frame import Frame

    if array is None:
        return None
    if list(array.shape) != list(fine_shape):
        raise InputError("previous", f"shape {array.shape} does not fit", f"give {list(fine_shape)}")
    factor = fine_shape[0] // coarse.shape[0]
    with SharedArrays({"density": array}) as shared:
        return Frame(shared.copy("density"), cell_size=coarse.cell_size / factor, dt=coarse.dt)


def read(
    path: str,
    *,
    fields: list[str] | None = None,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    result: dict[str, SharedArray] | None = None,
) -> dict[str, Any]:
    """Read the frame in a volume file, with its velocity in m/s.

    Args:
        path: the file.
        fields: names of the fields to read; None: all.
        density_grid: name of the density grid; None: detected.
        velocity_grid: name of the velocity grid; None: detected.
        result: arrays in shared memory into which fields are copied.

    Returns `shape`, `fields`, `shapes` (of each field), `cell_size` (m), `origin` (m), `time` (s), `dt` (s) and
    `notes`. Raises InputError for an array without a field of its name and shape, and for a file that cannot be read.
    """
    from fluidsr.pipeline import frame_reading
    from fluidsr.pipeline.frame_sequence import FrameRef
    from fluidsr.pipeline.read_options import ReadOptions
    from fluidsr.volumes.numbering import frame_number

    item = FrameRef(frame_number(path) or 0, Path(path))
    read_options = ReadOptions(density_grid, velocity_grid)
    frame, notes = frame_reading.read(item, read_options, fields)
    frame = frame.numpy()
    with SharedArrays(result or {}) as targets:
        for name, target in (result or {}).items():
            values = frame.fields().get(name)
            if values is None or list(values.shape) != target.shape:
                state = "is not there" if values is None else f"has the shape {values.shape}"
                raise InputError(
                    f"result: {name}",
                    f"the field {state}",
                    "send the request without `result` to see the fields and their shapes",
                )
            targets.put(name, values)
    return {
        "shape": list(frame.shape),
        "fields": list(frame.fields()),
        "shapes": {name: list(values.shape) for name, values in frame.fields().items()},
        "cell_size": frame.cell_size,
        "origin": list(frame.origin),
        "time": frame.time,
        "dt": frame.dt,
        "notes": list(notes),
    }


def simulate(
    scene: str,
    output: str | None = None,
    *,
    frames: str | int | None = None,
    model: str | None = None,
    detail: float | None = None,
    style_seed: int | None = None,
    style: Mapping[str, float] | None = None,
    styles: str | None = None,
    formats: Sequence[str] = (),
    overrides: Sequence[str] = (),
    resolution_scale: float = 1.0,
    name: str | None = None,
    start_frame: int = 1,
    axes: str | None = None,
    seed: int = 0,
    tile: int | str = "auto",
    max_memory: int | None = None,
    precision: str = "float32",
    device: str = "auto",
    preview: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Simulate a scene into a folder, as `fluidsr simulate` does. Returns the paths `output` and `frames`.

    Args:
        scene: a built-in name or a YAML file.
        output: the folder; `runs/NAME` by default.
        tile: largest edge of a tile, coarse cells, or `auto`.
        max_memory: limit for the memory of a tile, bytes.
        precision: of the network.
        preview: render `preview.png` and `preview.mp4`.
        overwrite: replace an earlier run in the folder.

    The other arguments are those of `SimulateJob.of`; `frames` is its `frames_wanted`.
    """
    from fluidsr.pipeline.simulate import SimulateJob
    from fluidsr.pipeline.simulate import simulate as run

    job = SimulateJob.of(
        scene,
        frames_wanted=frames,
        model=model,
        detail=detail,
        style_seed=style_seed,
        style=style,
        styles=styles,
        device=device,
        seed=seed,
        overrides=overrides,
        formats=formats,
        inference=InferenceSettings(tile, max_memory, precision),
        resolution_scale=resolution_scale,
        name=name,
        start_frame=start_frame,
        axes=axes,
    )
    folder = Path(output) if output is not None else Path("runs") / job.scene.name
    run(job, folder, preview=preview, overwrite=overwrite, quiet=False)
    return {"output": str(folder.absolute()), "frames": str((folder / "frames").absolute())}


def info(path: str) -> dict[str, Any]:
    """The contents of a volume, sequence, dataset, model or run, as `fluidsr info --json` prints them."""
    from fluidsr.pipeline.info import info as run

    return run(path)


def models() -> dict[str, Any]:
    """The cards of the shipped models by name, as `fluidsr models list --json` prints them."""
    from fluidsr import models

    return {name: models.read_card(name).model_dump(mode="json") for name in models.shipped()}


def _arguments_of(function: Callable[..., Any], leave_out: Sequence[str] = ()) -> type[BaseModel]:
    """A pydantic model with a field for each parameter of `function`."""
    hints = typing.get_type_hints(function)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in leave_out
    }
    return create_model(f"{function.__name__}_arguments", __config__=_STRICT, **fields)


_FUNCTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function for function in (upsample, upsample_arrays, read, simulate, info, models)
}
_ARGUMENTS: Mapping[str, type[BaseModel]] = {
    **{name: _arguments_of(function) for name, function in _FUNCTIONS.items()},
    "upsample": _arguments_of(api.upsample, leave_out=("quiet",)),
    "cancel": create_model("cancel_arguments", __config__=_STRICT, id=(str | int, ...)),
    "hello": create_model("hello_arguments", __config__=_STRICT, protocol=(int, ...), token=(str, "")),
    "shutdown": create_model("shutdown_arguments", __config__=_STRICT),
}


def parse(request: Request) -> dict[str, Any]:
    """The checked arguments of a request. Raises InputError for an unknown request or the first wrong argument."""
    if request.request not in _ARGUMENTS:
        raise InputError(
            "request", f"'{request.request}' is not known", f"give one of {', '.join(sorted(_ARGUMENTS))}"
        )
    schema = _ARGUMENTS[request.request]
    try:
        arguments = schema.model_validate(request.arguments)
    except ValidationError as error:
        raise problem_of(error, request.arguments, f"{request.request}: ", schema.model_fields) from None
    return {name: getattr(arguments, name) for name in schema.model_fields}


def problem_of(
    error: ValidationError,
    request: Any,
    location: str = "",
    known: Iterable[str] = ("id", "request", "arguments"),
) -> InputError:
    """The first problem in a pydantic error, as an InputError.

    Args:
        error: what pydantic raised.
        request: the object that was validated.
        location: prefix of the place in the object.
        known: the allowed keys of the object, from which a misspelled key is corrected.
    """
    errors = error.errors(include_url=False, include_context=False)
    # A misspelled required key gives two errors, an unknown and a missing key; the unknown key helps more.
    first = next((detail for detail in errors if detail["type"] == "extra_forbidden"), errors[0])
    place = ".".join(_keys(request, first["loc"])) or "request"
    problem = first["msg"].replace("Input should be", "must be").replace("instance of Request", "object")
    remedy = "see docs/worker.md, or fluidsr serve --schema"
    if first["type"] == "missing":
        place, problem = str(first["loc"][-1]), "is missing"
    elif first["type"] == "extra_forbidden":
        problem = "is not known"
        close = difflib.get_close_matches(str(first["loc"][-1]), list(known), n=1)
        remedy = f"did you mean '{close[0]}'?" if close else remedy
    elif first["type"] == "model_type":
        problem = "is not an object"
    return InputError(f"{location}{place}", problem, remedy)


def _keys(request: Any, place: Sequence[int | str]) -> Iterator[str]:
    """Yield the keys in `place` that exist in `request`; pydantic adds the names of alternatives to a location."""
    for key in place:
        try:
            request = request[key]
        except (TypeError, KeyError, IndexError):
            return
        yield str(key)


def function_of(request: str) -> Callable[..., dict[str, Any]]:
    """The function that executes a queued request. Raises KeyError for `cancel`, `hello` and `shutdown`."""
    return _FUNCTIONS[request]


def schema() -> dict[str, Any]:
    """The JSON Schema of all requests."""
    models = {name: (arguments, "validation") for name, arguments in sorted(_ARGUMENTS.items())}
    adapters = [(name, mode, TypeAdapter(arguments)) for name, (arguments, mode) in models.items()]
    schemas, definitions = TypeAdapter.json_schemas(adapters)  # type: ignore[arg-type]
    requests = [
        {
            "type": "object",
            "properties": {
                "id": {"type": ["string", "integer"]},
                "request": {"const": name},
                "arguments": schemas[(name, mode)],  # type: ignore[index]
            },
            "required": ["id", "request"],
            "additionalProperties": False,
        }
        for name, mode, _ in adapters
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Requests to a fluidsr worker, protocol {PROTOCOL}",
        "oneOf": requests,
        **definitions,
    }
