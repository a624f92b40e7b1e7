"""The Plan screen's state and every step of it: moving, typing, replanning, fixing. Pure but for reading presets; no Textual.

The last plan that could be made stays until the next one can: beside an error it is shown as what it is, the last good one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tuitrain.runs.fixes import Fix, NoFix, cheapest_fix
from tuitrain.tui.plan.editor import Editor
from tuitrain.tui.plan.fields import BY_KEY, FIELDS, MORE, Field, Form, first_form
from tuitrain.tui.plan.layout import degrees, visible_rows
from tuitrain.tui.plan.reading import Sources, read
from tuitrain.tui.plan.suggest import alike, matches
from tuitrain.tui.plan.whole import FieldError
from tuitrain_planners import DeviceMemory, Plan, PlanError, by_precision, plan

GRID_PRECISIONS: Final = ("fp32", "bf16-mixed", "bf16-pure")
Grid = dict[str, tuple[DeviceMemory, ...]]
_UNDO_KEPT: Final = 100


@dataclass(slots=True)
class Planning:
    """One form and what it plans."""

    sources: Sources
    form: Form = field(default_factory=first_form)
    row: int = 0
    """Index in FIELDS."""
    unfolded: bool = False
    """Whether the folded fields are shown."""
    editor: Editor | None = None
    offered: list[str] = field(default_factory=list)
    """Names that match what is typed into a name field."""
    picked: int = 0
    """Which of them is meant."""
    planned: Plan | None = None
    error: FieldError | None = None
    """Why the form as it stands has no plan; `planned` is then of an earlier one."""
    grid: Grid | None = None
    """Every ZeRO stage in every precision, as `finish` last reckoned it; None until it first did."""
    settled: bool = False
    """Whether table and fix are of this plan; `finish` makes them so."""
    fix: Fix | NoFix | None = None
    """The cheapest fix; None until `finish` was called, or when nothing needs fixing."""
    _before: str = ""
    _undo: list[Form] = field(default_factory=list)

    @property
    def current(self) -> Field:
        """Where the cursor is."""
        return FIELDS[self.row]

    @property
    def visible(self) -> tuple[int, ...]:
        """Indices of the fields that are shown."""
        shape = None if self.planned is None else self.planned.request.shape
        return visible_rows(self.form, shape, unfolded=self.unfolded)

    @property
    def stale(self) -> bool:
        """Whether the plan shown is not of the form as it stands."""
        return self.error is not None

    @property
    def error_row(self) -> int:
        """The field the error is shown under: its own, or the one changed last."""
        keys = [each.key for each in FIELDS]
        return keys.index(self.error.field) if self.error is not None and self.error.field in keys else self.row

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._undo)

    # --- moving and changing ------------------------------------------------------------------------------------------

    def move(self, by: int) -> None:
        """Another field; the cursor stops at the ends."""
        self.end()
        rows = self.visible
        at = rows.index(self.row) if self.row in rows else 0
        self.row = rows[min(len(rows) - 1, max(0, at + by))]

    def fold(self) -> None:
        """Show the folded fields, or hide them."""
        self.end()
        self.unfolded = not self.unfolded
        self._keep_in_sight()

    def _keep_in_sight(self) -> None:
        """Onto the fold when the field under the cursor is behind it now."""
        if self.row not in self.visible:
            self.row = FIELDS.index(BY_KEY[MORE])

    def turn(self, direction: int) -> None:
        """Next or previous choice, twice or half the number; a name becomes the next preset, a degree one the devices allow."""
        self.end()
        key = self.current.key
        if self.current.kind == "fold":
            self.fold()
        elif self.current.kind == "degree" and self.planned is not None:
            request = self.planned.request
            allowed = [str(each) for each in degrees(self.form, key, request.shape, request.seq_len)]
            at = allowed.index(self.form[key]) if self.form[key] in allowed else -direction
            self.change(self.form.put(**{key: allowed[(at + direction) % len(allowed)]}))
        elif self.current.kind == "name":
            names = self.sources.names(key)
            at = names.index(self.form[key]) if self.form[key] in names else -1 if direction > 0 else 0
            self.change(self.form.put(**{key: names[(at + direction) % len(names)]}))
        else:
            self.change(self.form.turned(key, direction))

    def change(self, form: Form) -> None:
        """Another form, which `undo` takes back."""
        self.end()
        if form != self.form:
            self._undo = [*self._undo, self.form][-_UNDO_KEPT:]
            self.form = form
            self.replan()
            self._keep_in_sight()

    def undo(self) -> bool:
        """Back to the form before the last change; whether there was one."""
        self.end()
        if not self._undo:
            return False
        self.form = self._undo.pop()
        self.replan()
        self._keep_in_sight()
        return True

    # --- typing -------------------------------------------------------------------------------------------------------

    def begin(self, typed: str = "") -> None:
        """Type into the field under the cursor; `typed` is what was pressed to get here."""
        self.end()
        self._before = self.form[self.current.key]
        self.editor, self.picked = Editor.of(self._before), 0
        if self.current.kind == "name":
            self.offered = matches("", self.sources.names(self.current.key))
            self.picked = self.offered.index(self._before) if self._before in self.offered else 0
        if typed:
            self.type(typed)

    def type(self, text: str) -> None:
        """Characters, as typed or pasted: a line, without what cannot be shown."""
        if self.editor is not None and (shown := "".join(char for char in text if char.isprintable())):
            self._edit(self.editor.typed(shown))

    def edit_key(self, key: str) -> bool:
        """A key while typing; whether it meant anything."""
        if self.editor is None:
            return False
        if key in ("up", "down") and self.current.kind == "name":
            if self.offered:
                self.picked = (self.picked + (1 if key == "down" else -1)) % len(self.offered)
                self._try(self.offered[self.picked])
            return True
        after = self.editor.key(key)
        if after is None:
            return False
        if after.text == self.editor.text:
            self.editor = after
        else:
            self._edit(after)
        return True

    def accept(self) -> bool:
        """Keep what is typed - of a name, the one that is meant. Whether it could be kept: what cannot be read stays open."""
        if self.editor is None:
            return True
        if self.error is not None and self.error.field == self.current.key:
            return False
        after, key = self.form, self.current.key
        self.editor, self.offered = None, []
        if after[key] != self._before:
            self._undo = [*self._undo, after.put(**{key: self._before})][-_UNDO_KEPT:]
        return True

    def cancel(self) -> None:
        """Leave the field as it was."""
        if self.editor is not None:
            self.editor, self.offered = None, []
            self._try(self._before)

    def end(self) -> None:
        """Typing is over: what can be read is kept, what cannot is taken back."""
        if not self.accept():
            self.cancel()

    @property
    def meant(self) -> str:
        """The name a half-typed one is taken for; empty when what is typed is what is planned."""
        if self.editor is None or self.form[self.current.key] == self.editor.text:
            return ""
        return self.form[self.current.key]

    def _edit(self, editor: Editor) -> None:
        self.editor, text = editor, editor.text
        if self.current.kind == "name":
            names = self.sources.names(self.current.key)
            self.offered, self.picked = matches(text, names), 0
            if not self.offered:
                self.offered, self.picked = alike(text, names), -1
            elif text not in self.offered and self.offered and text.strip() and not self._reads(text):
                text = self.offered[0]
            if text in self.offered:
                self.picked = self.offered.index(text)
        self._try(text)

    def _reads(self, text: str) -> bool:
        """Whether a text that is no preset's name means something all the same (d12, 7B, a path)."""
        if self.current.key != "model":
            return False
        try:
            read(self.form.put(model=text), self.sources)
        except FieldError as error:
            return error.field != "model"
        return True

    def _try(self, text: str) -> None:
        self.form = self.form.put(**{self.current.key: text})
        self.replan()

    # --- planning -----------------------------------------------------------------------------------------------------

    def replan(self) -> None:
        """Plan the form as it stands: about 2 ms. Table and fix wait for `finish`."""
        try:
            self.planned = plan(read(self.form, self.sources))
        except FieldError as error:
            self.error = error
        except PlanError as error:
            self.error = FieldError("", error.message, error.hint)
        except ArithmeticError:
            self.error = FieldError("", "the numbers are too large to reckon with", "smaller ones")
        else:
            self.error = None
        self.fix, self.settled = None, False

    def finish(self) -> None:
        """What may come a moment later: the table of layouts, and the cheapest fix where one is needed."""
        if self.planned is None or self.stale:
            return
        request = self.planned.request
        self.grid = by_precision(request, dict.fromkeys((*GRID_PRECISIONS, request.precision)))
        self.fix = None if self.planned.memory.verdict == "fits" else cheapest_fix(self.planned)
        self.settled = True

    def apply_fix(self) -> str:
        """Put the cheapest fix into the form; what was done, or why nothing was."""
        self.end()
        if self.planned is None or self.stale:
            return "there is no plan to fix: " + (self.error.message if self.error else "")
        found = cheapest_fix(self.planned)
        if isinstance(found, NoFix):
            return found.reason
        request = found.plan.request
        changes = {
            "micro_batch": str(request.micro_batch), "accumulate": str(request.grad_accum), "zero": str(request.zero),
            "recompute": request.recompute, "loss": request.loss_head,
        }  # fmt: skip
        before = self.planned.request
        if request.adapter != before.adapter:
            changes["method"] = "qlora"
        if request.loss_head == before.loss_head:
            del changes["loss"]
        self.change(self.form.put(**changes))
        return found.words

    def take_layout(self, precision: str, zero: int) -> None:
        """A cell of the table becomes the plan."""
        self.change(self.form.put(precision=precision, zero=str(zero)))


def go_to(planning: Planning, key: str) -> None:
    """Put the cursor on a field."""
    planning.end()
    planning.unfolded = planning.unfolded or BY_KEY[key].folded
    planning.row = FIELDS.index(BY_KEY[key])
