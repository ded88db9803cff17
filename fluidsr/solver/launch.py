"""Launching Taichi kernels: `@kernel` in place of `@ti.kernel`.

Taichi 1.7 prepares the arguments of every launch in Python: it derives the key of the compiled variant from all of them
and makes a dozen type tests for each. This takes 100 to 300 µs, half of the time of a coarse simulation. `Kernel` looks
the variant up by the compile-time arguments only, and chooses the function that passes each argument when the kernel is
defined, which takes 10 to 25 µs. Compilation, caches and the launch itself are still Taichi's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import taichi as ti
import torch
from taichi.lang import impl
from taichi.lang.matrix import MatrixType
from taichi.types import ndarray_type
from taichi.types.annotations import template

_DTYPES = {
    ti.f32: torch.float32,
    ti.f64: torch.float64,
    ti.i8: torch.int8,
    ti.i32: torch.int32,
    ti.u8: torch.uint8,
}


class Kernel:
    """A Taichi kernel whose arguments are flat contiguous tensors, numbers, vectors of numbers and, where annotated
    with `ti.template()`, compile-time constants.

    Raises TypeError for a wrong number of arguments, and for a tensor of another dtype or one that is not flat and
    contiguous, as the kernel would misread its memory.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        functools.update_wrapper(self, function)
        self.name = function.__name__
        self._taichi = ti.kernel(function)._primal
        self._runtime: Any = None
        self._variants: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self._constants: list[int] = []
        self._fillers: list[tuple[int, Callable[[Any, tuple[int, ...], Any], None]]] = []
        for place, argument in enumerate(self._taichi.arguments):
            if isinstance(argument.annotation, template):
                self._constants.append(place)
            else:
                self._fillers.append((place, _filler(argument.annotation, f"{self.name}: {argument.name}")))
        self._names = [argument.name for argument in self._taichi.arguments]

    def __call__(self, *values: Any) -> None:
        if len(values) != len(self._names):
            raise TypeError(f"{self.name} takes {', '.join(self._names)}; {len(values)} values were given")
        runtime = impl.get_runtime()
        if runtime is not self._runtime:  # Taichi has been restarted, on another device
            self._runtime, self._variants = runtime, {}
        constants = tuple([values[place] for place in self._constants])
        variant = self._variants.get(constants)
        if variant is None:
            variant = self._variants[constants] = self._compiled(values)
        kernel, compiled = variant
        context = kernel.make_launch_context()
        for slot, (place, fill) in enumerate(self._fillers):
            fill(context, (slot,), values[place])
        runtime.prog.launch_kernel(compiled, context)

    def _compiled(self, values: tuple[Any, ...]) -> tuple[Any, Any]:
        kernel = self._taichi.compiled_kernels[self._taichi.ensure_compiled(*values)]
        program = self._runtime.prog
        return kernel, program.compile_kernel(program.config(), program.get_device_caps(), kernel)


kernel = Kernel  # as a decorator


def _filler(annotation: Any, name: str) -> Callable[[Any, tuple[int, ...], Any], None]:
    """The function that passes a value with this annotation to a launch context, as fill(context, slot, value). `name`
    is used in errors."""
    if isinstance(annotation, ndarray_type.NdarrayType):
        return _tensor_filler(_DTYPES[annotation.dtype], name)
    if isinstance(annotation, MatrixType):
        return _vector_filler(annotation.n, annotation.dtype in (ti.f32, ti.f64), name)
    if annotation in (ti.f32, ti.f64, float):
        return lambda context, slot, value: context.set_arg_float(slot, float(value))
    return lambda context, slot, value: context.set_arg_int(slot, int(value))


def _tensor_filler(dtype: torch.dtype, name: str) -> Callable[[Any, tuple[int, ...], torch.Tensor], None]:
    def fill(context: Any, slot: tuple[int, ...], tensor: torch.Tensor) -> None:
        if tensor.dtype is not dtype or tensor.dim() != 1 or not tensor.is_contiguous():
            raise TypeError(
                f"{name} must be flat, contiguous and of {dtype}: {tensor.dtype}, {tuple(tensor.shape)}"
            )
        context.set_arg_external_array_with_shape(slot, tensor.data_ptr(), tensor.nbytes, tensor.shape, 0)

    return fill


def _vector_filler(length: int, real: bool, name: str) -> Callable[[Any, tuple[int, ...], Any], None]:
    def fill(context: Any, slot: tuple[int, ...], vector: Any) -> None:
        if len(vector) != length:
            raise TypeError(f"{name} must have {length} numbers: {vector}")
        for part, value in enumerate(vector):
            if real:
                context.set_struct_arg_float((*slot, part), float(value))
            else:
                context.set_struct_arg_int((*slot, part), int(value))

    return fill
