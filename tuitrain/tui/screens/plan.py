"""Plan: a form on the left, what it costs on the right, replanned at every keystroke."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer

from tuitrain.tui.actions import PLAN, bindings, on_screen
from tuitrain.tui.messages import MachineKnown
from tuitrain.tui.plan.explaining import TABLE, explainable
from tuitrain.tui.plan.state import Planning
from tuitrain.tui.render.plan_page import VIEWS, View, all_fit, is_short, plan_page, title_line
from tuitrain.tui.screens.jobs import Say
from tuitrain.tui.screens.plan_jobs import PlanJobs
from tuitrain.tui.widgets.footer_bar import FooterBar
from tuitrain.tui.widgets.lines import Lines
from tuitrain.tui.widgets.plan_form import PlanForm
from tuitrain.tui.widgets.plan_page import PlanPage

DEBOUNCE_S = 0.05
"""Rest after a keystroke before table and fix are reckoned, which take tens of milliseconds together."""
_NARROW_CELLS = 64
_FORM_SHARE, _FORM_CELLS = 0.3, (30, 44)


class PlanScreen(PlanJobs):
    """The form and its plan."""

    WHERE = PLAN
    BINDINGS = bindings(PLAN)

    def __init__(self, planning: Planning) -> None:
        super().__init__()
        self.planning = planning
        self.view: View = "all"
        self._later: Timer | None = None

    def compose(self) -> ComposeResult:
        """Title, form, page, keys."""
        ascii_only = self.glyphs.ascii_only
        yield Lines("plan-title", ascii_only=ascii_only)
        with Horizontal(id="plan"):
            yield PlanForm(self.planning, self.glyphs)
            yield PlanPage(ascii_only=ascii_only)
        yield FooterBar(PLAN, ascii_only=ascii_only)

    def on_mount(self) -> None:
        """The first plan; meanwhile a thread looks at this machine."""
        self.replanned(rethink=True)
        self.planning.finish()
        self.call_after_refresh(self.paint)
        if self.tui.this is None:
            self.tui.bridge.job("machine", self._look)

    def _look(self, say: Say) -> None:
        from tuitrain.runs.machine import this_machine

        self.tui.bridge.post(MachineKnown(this_machine()))

    def job_said(self) -> None:
        """In the title."""
        self.paint()

    def machine_changed(self) -> None:
        """What `this` stands for may be known now."""
        self.replanned(rethink=True)

    # --- painting -----------------------------------------------------------------------------------------------------

    def replanned(self, *, rethink: bool = False) -> None:
        """Show the plan now; table and fix a moment after the last keystroke."""
        if rethink:
            self.planning.replan()
        self.paint()
        if self._later is not None:
            self._later.stop()
        self._later = self.set_timer(DEBOUNCE_S, self._finish)

    def _finish(self) -> None:
        if not self.planning.settled and not self.planning.stale:
            self.planning.finish()
            self.paint()

    def paint(self) -> None:
        """Show form and page for the size there is."""
        if not self.on_stage:
            return
        width, height = self.size.width, max(1, self.size.height - 2)
        form, page = self.query_one(PlanForm), self.query_one(PlanPage)
        narrow = width < _NARROW_CELLS
        low, high = _FORM_CELLS
        cells = width if narrow else min(high, max(low, round(width * _FORM_SHARE)))
        form.display, page.display = not narrow or self.view == "all", not narrow or self.view != "all"
        form.styles.width = cells
        with self.app.batch_update():
            self.query_one("#plan-title", Lines).show([title_line(self.planning, width, self.glyphs, self.tui.home.said)])
            form.paint()
            shown: View = self.view
            page.fill(plan_page(self.planning, shown, width if narrow else width - cells - 1, height, self.glyphs))
            self._paint_keys()
        if self.planning.editor is None and self.focused is form:
            self.set_focus(None)

    def _paint_keys(self) -> None:
        """While typing only the keys that are not text."""
        footer, planning = self.query_one(FooterBar), self.planning
        if planning.editor is not None:
            others = {action.id for action in on_screen(PLAN)} - {"field.edit", "back"}
            footer.show_keys({"field.edit": "Keep", "back": "Leave as it was"}, frozenset(others))
            return
        hidden = set() if planning.can_undo else {"plan.undo"}
        if planning.planned is None or planning.planned.memory.verdict == "fits":
            hidden.add("plan.fix")
        footer.show_keys(None, frozenset(hidden))

    # --- the form -----------------------------------------------------------------------------------------------------

    @on(PlanForm.Edited)
    def edited(self) -> None:
        """A keystroke; perhaps the last of this field."""
        self.replanned()

    @on(PlanForm.Clicked)
    def clicked(self, event: PlanForm.Clicked) -> None:
        """Go there; on the value of the field one is at, type or choose."""
        planning = self.planning
        again = event.row == planning.row and planning.editor is None
        if event.row != planning.row:
            planning.end()
        planning.row = event.row
        if again and event.on_value:
            if planning.current.kind in ("choice", "fold"):
                planning.turn(1)
            else:
                self.action_field_edit()
                return
        self.replanned()

    def on_key(self, event: events.Key) -> None:
        """A digit on a field that takes numbers starts typing it."""
        planning = self.planning
        digit = event.character is not None and (event.character.isdigit() or event.character in ".$")
        if digit and planning.editor is None and planning.current.kind in ("whole", "degree", "text"):
            event.stop()
            self._begin(str(event.character))

    def _begin(self, typed: str = "") -> None:
        if not self.query_one(PlanForm).display:
            self.view = "all"
            self.query_one(PlanForm).display = True
        self.planning.begin(typed)
        self.query_one(PlanForm).focus()
        self.replanned()

    def action_field_up(self) -> None:
        """The field above."""
        self.planning.move(-1)
        self.paint()

    def action_field_down(self) -> None:
        """The field below."""
        self.planning.move(1)
        self.paint()

    def action_field_next(self) -> None:
        """The next choice, or twice the number."""
        self.planning.turn(1)
        self.replanned()

    def action_field_previous(self) -> None:
        """The choice before, or half the number."""
        self.planning.turn(-1)
        self.replanned()

    def action_field_edit(self) -> None:
        """Type into a field; a choice goes on to the next one."""
        if self.planning.editor is not None:
            self.planning.accept()
            self.replanned()
        elif self.planning.current.kind in ("choice", "fold"):
            self.action_field_next()
        else:
            self._begin()

    def action_plan_more(self) -> None:
        """Show the folded fields, or hide them."""
        self.planning.fold()
        self.paint()

    async def action_back(self) -> None:
        """Out of a field, else back to the list of runs."""
        if self.planning.editor is not None:
            self.planning.cancel()
            self.replanned()
        else:
            await super().action_back()

    # --- what a plan is for -------------------------------------------------------------------------------------------

    def action_plan_fix(self) -> None:
        """Apply the cheapest fix."""
        self.tui.say(self.planning.apply_fix())
        self.replanned()

    def action_plan_undo(self) -> None:
        """Take the last change back."""
        if not self.planning.undo():
            self.tui.say("nothing to take back")
        self.replanned()

    def action_plan_view(self) -> None:
        """The next pane, where not all have room; else one of them large."""
        self._turn_view(1)

    def action_plan_view_back(self) -> None:
        """The pane before."""
        self._turn_view(-1)

    def _turn_view(self, by: int) -> None:
        page = self.query_one(PlanPage)
        narrow = self.size.width < _NARROW_CELLS
        at_once = all_fit(page.size.width, page.size.height)
        views = VIEWS if narrow or at_once or is_short(page.size.height) else VIEWS[1:]
        at = views.index(self.view) if self.view in views else 0
        self.view = views[(at + by) % len(views)]
        self.paint()

    def action_plan_explain(self) -> None:
        """How the number the field moves comes about."""
        self._explain(self.planning.current.figure)

    @on(PlanPage.Pointed)
    def pointed(self, event: PlanPage.Pointed) -> None:
        """A figure was clicked: explain it; a layout: take it."""
        if event.figure.startswith(TABLE) and not self.planning.stale:
            precision, _, stage = event.figure.removeprefix(TABLE).rpartition(".zero")
            self.planning.take_layout(precision, int(stage))
            self.replanned()
            return
        self._explain(event.figure)

    def _explain(self, name: str) -> None:
        from tuitrain.tui.screens.plan_explain import PlanExplainScreen

        if self.planning.planned is None:
            self.tui.say("there is no plan yet", severity="warning")
            return
        figures = explainable(self.planning.planned, self.planning.grid)
        self.app.push_screen(PlanExplainScreen(figures, name))
