"""How the devices are laid out: which fields there are, which degrees the devices allow, and the mesh of them.

devices = data x tensor x pipeline x context; the data axis takes what the others leave. Experts live on data x context.
"""

from __future__ import annotations

from math import prod
from typing import Final

from tuitrain.tui.plan.fields import FIELDS, Field, Form
from tuitrain.tui.plan.whole import FieldError, about, read_whole
from tuitrain_planners import Mesh, ModelShape, PlanError

AXES: Final = ("tp", "pp", "cp")
"""Those that cut the devices; the rest is the data axis."""


def visible_rows(form: Form, shape: ModelShape | None, *, unfolded: bool) -> tuple[int, ...]:
    """Indices of the fields that are shown. A folded one is, without being asked for, where it is not as at first."""
    return tuple(index for index, each in enumerate(FIELDS) if _is_shown(each, form, shape, unfolded=unfolded))


def folded_labels(form: Form, shape: ModelShape | None) -> list[str]:
    """What is behind the fold at the moment, by its labels."""
    shown = visible_rows(form, shape, unfolded=False)
    return [FIELDS[index].label for index in visible_rows(form, shape, unfolded=True) if index not in shown]


def _is_shown(field: Field, form: Form, shape: ModelShape | None, *, unfolded: bool) -> bool:
    if not field.folded:
        return True
    if field.needs == "adapter" and form["method"] == "full":
        return False
    if form[field.key] != field.start:
        return True
    several = _whole(form["devices"]) > 1
    if field.needs == "devices":
        return unfolded and several
    if field.needs == "experts":
        return unfolded and several and shape is not None and shape.experts is not None
    return unfolded


def degrees(form: Form, key: str, shape: ModelShape | None, seq_len: int) -> list[int]:
    """Degrees of one axis that the devices allow beside the other axes, and the model by itself; 1 is always among them."""
    others = prod(_whole(form[axis]) for axis in AXES if axis != key and (key != "ep" or axis != "cp"))
    devices = _whole(form["devices"])
    room = devices // others if devices % others == 0 else 1
    return [each for each in range(1, room + 1) if room % each == 0 and (shape is None or _can(key, each, shape, seq_len))]


def read_mesh(form: Form, shape: ModelShape, seq_len: int) -> Mesh:
    """The mesh. FieldError under the first degree that does not divide what is left of the devices, or cannot cut the model."""
    with about("devices"):
        devices = read_whole(form["devices"])
    found: dict[str, int] = {}
    for axis in AXES:
        with about(axis):
            found[axis] = read_whole(form[axis])
            if devices % (cut := prod(found.values())):
                words = " x ".join(f"{name} {degree}" for name, degree in found.items() if degree > 1)
                later = form.put(**dict.fromkeys(AXES[AXES.index(axis) + 1 :], "1"))
                allowed = ", ".join(map(str, degrees(later, axis, shape, seq_len)))
                raise PlanError(f"{devices} devices are no multiple of {words} = {cut}", f"{axis} among {allowed}")
            _cut_alone(axis, found[axis]).check(shape, seq_len)
    with about("ep"):
        ep = read_whole(form["ep"])
        _cut_alone("ep", ep).check(shape, seq_len)
        mesh = Mesh(dp=devices // prod(found.values()), tp=found["tp"], pp=found["pp"], cp=found["cp"], ep=ep)
    parts = mesh.cp * mesh.sequence_cut
    if seq_len % parts:
        message = f"a sequence of {seq_len} tokens in {parts} parts (context {mesh.cp} x tensor {mesh.sequence_cut})"
        raise FieldError("seq", message, f"a multiple of {parts}")
    return mesh


def _cut_alone(axis: str, degree: int) -> Mesh:
    """A mesh of one axis: what the model says against it is about this axis."""
    one = dict.fromkeys((*AXES, "ep"), 1) | {axis: degree}
    return Mesh(tp=one["tp"], pp=one["pp"], cp=one["cp"], dp=one["ep"], ep=one["ep"])


def _can(axis: str, degree: int, shape: ModelShape, seq_len: int) -> bool:
    try:
        _cut_alone(axis, degree).check(shape, seq_len)
    except PlanError:
        return False
    return True


def _whole(text: str) -> int:
    """A number that may not be one yet, as while it is typed: then 1."""
    try:
        return read_whole(text)
    except PlanError:
        return 1
