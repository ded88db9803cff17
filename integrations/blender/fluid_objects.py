# SPDX-License-Identifier: GPL-3.0-or-later
"""The fluid objects of Blender's scene: their settings, surfaces, and what they do from frame to frame."""

import contextlib

import mathutils
import numpy as np

from .scene_file import Body, Domain, Untranslatable
from .surfaces import Surface


def box_of(thing):
    """Lower and upper corner (m) of an object's box in the world."""
    corners = [thing.matrix_world @ mathutils.Vector(corner) for corner in thing.bound_box]
    low, high = (tuple(pick(c[i] for c in corners) for i in range(3)) for pick in (min, max))
    return low, high


def collect(context, thing, settings):
    """The Domain of the object `thing`, its flow objects and effectors as Body, and notes for the user.

    Goes through the domain's frames and back to the present one. Raises Untranslatable.
    """
    scene = context.scene
    domain = _domain(scene, thing, settings)
    notes = _left_out(context)
    found = list(_fluid_objects(context, settings))
    frames = range(settings.cache_frame_start, settings.cache_frame_end + 1)
    with _without_simulation(thing), _frames_of(scene):
        scene.frame_set(settings.cache_frame_start)
        first = [_read(context, each) for each, _ in found]
        states = [[] for _ in found]
        for number in frames:
            scene.frame_set(number)
            for (each, modifier), its in zip(found, states, strict=True):
                its.append(_state(context, each, modifier))
    flows, effectors = [], []
    for (each, modifier), surface, its in zip(found, first, states, strict=True):
        flow = modifier.fluid_type == "FLOW"
        settings = modifier.flow_settings if flow else modifier.effector_settings
        (flows if flow else effectors).append(_body(each.name, settings, surface, its))
    return domain, flows, effectors, notes


def _domain(scene, thing, settings):
    matrix = np.array(thing.matrix_world)[:3, :3]
    edges = np.abs(np.diag(matrix))
    if np.abs(matrix - np.diag(edges)).max() > 1e-5 * edges.max():
        raise Untranslatable(f"{thing.name}: the domain is rotated or mirrored; apply that (Object > Apply)")
    low, high = box_of(thing)
    if min(b - a for a, b in zip(low, high, strict=True)) <= 0:
        raise Untranslatable(f"{thing.name}: the domain is flat; give it a height")
    gravity = scene.gravity if scene.use_gravity else settings.gravity
    strength = settings.effector_weights.gravity
    fps = scene.render.fps / scene.render.fps_base
    return Domain(thing.name, settings, low, high, tuple(g * strength for g in gravity), fps)


def _fluid_objects(context, settings):
    """The flow objects and effectors that act on the domain, with their modifiers."""
    groups = {"FLOW": settings.fluid_group, "EFFECTOR": settings.effector_group}
    for thing in context.view_layer.objects:
        for modifier in thing.modifiers:
            if modifier.type == "FLUID" and modifier.fluid_type in groups and not thing.hide_viewport:
                group = groups[modifier.fluid_type]
                if modifier.show_viewport and (group is None or thing.name in group.all_objects):
                    yield thing, modifier


def _left_out(context):
    fields = [
        thing.name
        for thing in context.view_layer.objects
        if thing.field is not None and thing.field.type != "NONE"
    ]
    return [f"force fields are not simulated; left out: {', '.join(fields)}"] if fields else []


@contextlib.contextmanager
def _without_simulation(thing):
    """The domain's own simulation rests: Blender's Replay would run at every change of the frame."""
    modifiers = [m for m in thing.modifiers if m.type == "FLUID"]
    shown = [modifier.show_viewport for modifier in modifiers]
    for modifier in modifiers:
        modifier.show_viewport = False
    try:
        yield
    finally:
        for modifier, before in zip(modifiers, shown, strict=True):
            modifier.show_viewport = before


@contextlib.contextmanager
def _frames_of(scene):
    number, part = scene.frame_current, scene.frame_subframe
    try:
        yield
    finally:
        scene.frame_set(number, subframe=part)


def _read(context, thing):
    """The surface of an object at the present frame, with its modifiers."""
    evaluated = thing.evaluated_get(context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    mesh.calc_loop_triangles()
    points = np.empty(3 * len(mesh.vertices), np.float32)
    triangles = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.vertices.foreach_get("co", points)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    evaluated.to_mesh_clear()
    matrix = np.array(evaluated.matrix_world)
    points = points.reshape(-1, 3).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    triangles = triangles.reshape(-1, 3)
    mirrored = np.linalg.det(matrix[:3, :3]) < 0
    return Surface(points, triangles[:, ::-1] if mirrored else triangles)  # counter-clockwise from outside


def _state(context, thing, modifier):
    """Matrix, local box and whether it acts, at the present frame."""
    evaluated = thing.evaluated_get(context.evaluated_depsgraph_get())
    of_modifier = evaluated.modifiers[modifier.name]
    if modifier.fluid_type == "FLOW":
        active = of_modifier.flow_settings.use_inflow
    else:
        active = of_modifier.effector_settings.use_effector
    return np.array(evaluated.matrix_world), np.array([list(c) for c in evaluated.bound_box]), active


def _body(name, settings, surface, states):
    matrices, boxes = np.stack([s[0] for s in states]), np.stack([s[1] for s in states])
    middle = np.append(boxes[0].mean(axis=0), 1.0)
    places = (matrices @ middle)[:, :3]
    linear = matrices[:, :3, :3]
    squares = linear.transpose(0, 2, 1) @ linear  # the same where only a rotation changes
    scale = np.abs(linear[0]).max()
    return Body(
        name,
        settings,
        surface,
        places - places[0],
        [s[2] for s in states],
        turns=bool(np.abs(linear - linear[0]).max() > 1e-4 * scale),
        deforms=bool(
            np.abs(squares - squares[0]).max() > 1e-4 * scale**2
            or np.abs(boxes - boxes[0]).max() > 1e-4 * np.abs(boxes[0]).max()
        ),
    )


def domain_of(thing):
    """The domain settings of an object that is a gas domain, else None."""
    for modifier in thing.modifiers if thing is not None else ():
        if modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN":
            settings = modifier.domain_settings
            return settings if settings.domain_type == "GAS" else None
    return None
