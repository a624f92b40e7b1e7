"""Every key of the interface, once: bindings, footer, help and the command palette are made from this table.

Lower case changes the view, UPPER CASE touches the job (G, the last row of a list, is the one exception every pager has).
An action `a.b` is carried out by the method `action_a_b` of the screen, or of the app.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from textual.binding import Binding, BindingType

from tuitrain.tui.render.footer import Key

RUNS, RUN, CHART, SAMPLES, LOG, ALERTS, EXPLAIN = "runs", "run", "chart", "samples", "log", "alerts", "explain"
FLIGHT, TOKENS, RANKS = "flight", "tokens", "ranks"
PLAN, PLAN_EXPLAIN = "plan", "plan-explain"
_ON_APP: Final = ("colours", "palette", "quit")
SCREENS: Final = (RUNS, RUN, CHART, SAMPLES, LOG, ALERTS, EXPLAIN, FLIGHT, TOKENS, RANKS, PLAN, PLAN_EXPLAIN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """One thing a user can do."""

    id: str
    keys: str
    """Textual's names, the one shown first."""
    shown_key: str
    """As people write it."""
    label: str
    """For the footer: a word or two."""
    tooltip: str
    """For help and palette: one sentence."""
    where: frozenset[str]
    cli: str = ""
    """The command that does the same; {run} is the run's id."""
    touches_job: bool = False
    footer: bool = True
    """Whether there is a place for it in the footer; help and palette have them all."""

    @property
    def method(self) -> str:
        """Name of the method without `action_`."""
        return self.id.replace(".", "_")

    @property
    def call(self) -> str:
        """The action as Textual is told it: those of the app say so, for a screen's bindings look on the screen."""
        return f"app.{self.method}" if self.id in _ON_APP else self.method


def _a(name: str, keys: str, shown: str, label: str, tooltip: str, *where: str, footer: bool = True, cli: str = "") -> Action:
    """An action on the view. No screen named: all of them."""
    place = frozenset(where or SCREENS)
    return Action(id=name, keys=keys, shown_key=shown, label=label, tooltip=tooltip, where=place, footer=footer, cli=cli)


def _quiet(name: str, keys: str, shown: str, label: str, tooltip: str, *where: str) -> Action:
    """An action on the view that is not in the footer."""
    return _a(name, keys, shown, label, tooltip, *where, footer=False)


def _job(name: str, key: str, label: str, tooltip: str, *where: str, cli: str) -> Action:
    """An action on the job."""
    place = frozenset(where)
    return Action(id=name, keys=key, shown_key=key, label=label, tooltip=tooltip, where=place, cli=cli, touches_job=True)


_CHARTS = (RUN, CHART)
_PAGERS = (SAMPLES, LOG, ALERTS, FLIGHT, TOKENS, PLAN_EXPLAIN)
_INNER = tuple(each for each in SCREENS if each != RUNS)
_NO_DIGITS = tuple(each for each in _INNER if each != PLAN)
"""A digit in the Plan form is the beginning of a number."""

ACTIONS: Final = (
    _a("open", "enter", "enter", "Open", "Open the selected run.", RUNS, cli="tuitrain runs watch {run}"),
    _a("demo", "t", "t", "Demo", "Start a 3-minute demo training and watch it.", RUNS, cli="tuitrain demo"),
    _a(
        "plan",
        "p,2",
        "p",
        "Plan",
        "What a training takes before it starts: memory, time, money.",
        RUNS,
        cli="tuitrain plan MODEL",
    ),
    _quiet("row.up", "up,k", "up", "Up", "Select the run above.", RUNS),
    _quiet("row.down", "down,j", "down", "Down", "Select the run below.", RUNS),
    _quiet("row.first", "g,home", "g", "First", "Select the first run.", RUNS),
    _quiet("row.last", "G,end", "G", "Last", "Select the last run.", RUNS),
    _a("zoom", "z,enter", "z", "Zoom", "Show the large chart on the whole screen.", RUN),
    _quiet("chart.next", "tab", "tab", "Next chart", "Make the next chart the large one.", *_CHARTS),
    _quiet("chart.previous", "shift+tab", "shift+tab", "Previous chart", "Make the previous chart the large one.", *_CHARTS),
    _a("freeze", "space", "space", "Freeze", "Freeze the view, or follow the run again. The run does not notice.", *_CHARTS),
    _a("flight", "f", "f", "Flight", "The flight check: what was looked at before the first step, and what to mend.", *_CHARTS),
    _a(
        "tokens",
        "t",
        "t",
        "Tokens",
        "The training examples token by token: what is trained, what only read, and what serving would send.",
        *_CHARTS,
        cli="tuitrain data inspect {run}/config.toml",
    ),
    _a("scale", "y", "y", "Scale", "Vertical scale of the large chart: linear, log, robust (middle 98%).", *_CHARTS),
    _a("axis", "x", "x", "Axis", "Horizontal axis of all charts: step, tokens, time.", *_CHARTS),
    _a("range", "r", "r", "Range", "What all charts span: the whole plan, all data, the last 500 steps.", *_CHARTS),
    _quiet("smooth.more", "full_stop", ".", "Smoother", "More smoothing.", *_CHARTS),
    _quiet("smooth.less", "comma", ",", "Rougher", "Less smoothing.", *_CHARTS),
    _quiet("cursor.left", "left", "left", "Cursor left", "Move the crosshair of all charts to earlier steps.", *_CHARTS),
    _quiet("cursor.right", "right", "right", "Cursor right", "Move the crosshair of all charts to later steps.", *_CHARTS),
    _quiet("zoom.in", "plus,equals_sign", "+", "Zoom in", "Show fewer steps, around the crosshair.", *_CHARTS),
    _quiet("zoom.out", "minus", "-", "Zoom out", "Show more steps.", *_CHARTS),
    _quiet("zoom.reset", "0", "0", "Reset", "Back to the whole plan, live, without crosshair.", *_CHARTS),
    _quiet("pan.left", "shift+left", "shift+left", "Earlier", "Move the window to earlier steps.", *_CHARTS),
    _quiet("pan.right", "shift+right", "shift+right", "Later", "Move the window to later steps.", *_CHARTS),
    _quiet("older", "left_square_bracket", "[", "Older", "Samples of an earlier step.", RUN, SAMPLES),
    _quiet("newer", "right_square_bracket", "]", "Newer", "Samples of a later step.", RUN, SAMPLES),
    _a("explain", "i", "i", "Explain", "What a number means, what was planned, and by which formula.", RUN),
    _a("field.edit", "enter", "enter", "Type", "Type into the field; a choice goes on to the next one.", PLAN),
    _a("plan.fix", "f", "f", "Fix", "Apply the cheapest change that makes the plan fit.", PLAN),
    _a(
        "plan.explain", "i", "i", "Explain", "How the number the field moves comes about; left and right show the others.", PLAN
    ),
    _a("plan.this", "t", "t", "This machine", "Fill the form in for the machine at hand, as it was measured.", PLAN),
    _a("plan.view", "tab", "tab", "Pane", "Numbers, table, chart: one of them large.", PLAN),
    _a("plan.copy", "y", "y", "Copy", "Copy the command that plans the same.", PLAN, cli="tuitrain plan MODEL"),
    _a(
        "plan.more",
        "a",
        "a",
        "All fields",
        "Show the folded fields too: parallelism, offloading, software; or hide them.",
        PLAN,
    ),
    _a("plan.undo", "u", "u", "Undo", "Take the last change back.", PLAN),
    _quiet("plan.view.back", "shift+tab", "shift+tab", "Pane before", "The pane before.", PLAN),
    _quiet("field.up", "up,k", "up", "Up", "The field above.", PLAN),
    _quiet("field.down", "down,j", "down", "Down", "The field below.", PLAN),
    _quiet("field.previous", "left,h", "left", "Less", "The choice before, or half the number.", PLAN),
    _quiet("field.next", "right,l", "right", "More", "The next choice, or twice the number.", PLAN),
    _a("figure.previous", "left,shift+tab", "left", "Previous", "Explain the number before.", PLAN_EXPLAIN),
    _a("figure.next", "right,tab", "right", "Next", "Explain the next number.", PLAN_EXPLAIN),
    _a("tokens.view", "tab", "tab", "View", "Examples, sequences, serving beside training, summary.", TOKENS),
    _quiet("tokens.view.back", "shift+tab", "shift+tab", "View before", "The view before.", TOKENS),
    _a("example.previous", "left_square_bracket,p", "[", "Previous", "The example or sequence before.", TOKENS),
    _a("example.next", "right_square_bracket,n", "]", "Next", "The next example or sequence.", TOKENS),
    _a("example.find", "slash", "/", "Find", "Go to an example or sequence by number, or to an example by text in it.", TOKENS),
    _a("token.previous", "left,h", "left", "Token", "The token before, and what is known of it.", TOKENS),
    _quiet("token.next", "right,l", "right", "Next token", "The next token, and what is known of it.", TOKENS),
    _a(
        "examples.write",
        "w",
        "w",
        "Export",
        "Write the whole report as one HTML page into the run's folder.",
        TOKENS,
        cli="tuitrain data inspect {run}/config.toml --html FILE",
    ),
    _a("log", "l", "l", "Log", "The training log.", *_CHARTS),
    _a("samples", "s", "s", "Samples", "What the model wrote, step by step.", *_CHARTS),
    _a("alerts", "a", "a", "Alerts", "Warnings, guard trips and answers of the trainer.", *_CHARTS),
    _a("ranks", "k", "k", "Ranks", "The processes side by side: memory, who waits for whom, each one's log.", *_CHARTS),
    _a("rank.log", "enter,l", "enter", "Log", "The log of the selected rank.", RANKS, cli="tuitrain runs log {run} --rank N"),
    _quiet("rank.up", "up,k", "up", "Up", "Select the rank above.", RANKS),
    _quiet("rank.down", "down,j", "down", "Down", "Select the rank below.", RANKS),
    _quiet("rank.first", "g,home", "g", "First", "Select the first rank.", RANKS),
    _quiet("rank.last", "G,end", "G", "Last", "Select the last rank.", RANKS),
    _quiet("log.previous", "left_square_bracket", "[", "Rank before", "The log of the rank before.", LOG),
    _quiet("log.next", "right_square_bracket", "]", "Next rank", "The log of the next rank.", LOG),
    _a("tile.previous", "left,up,shift+tab", "left", "Previous", "Explain the tile before.", EXPLAIN),
    _a("tile.next", "right,down,tab", "right", "Next", "Explain the tile after.", EXPLAIN),
    _quiet("page.up", "up,k", "up", "Up", "One line up.", *_PAGERS),
    _quiet("page.down", "down,j", "down", "Down", "One line down.", *_PAGERS),
    _a("page.back", "pageup,b", "pgup", "Page up", "One page up.", *_PAGERS),
    _a("page.on", "pagedown,f", "pgdn", "Page down", "One page down.", *_PAGERS),
    _a("page.first", "g,home", "g", "Top", "The first line.", *_PAGERS),
    _a("page.last", "G,end", "G", "End", "The last line; a log is followed from there.", *_PAGERS),
    _job("job.pause", "P", "Pause", "Pause the training, or let it go on.", RUNS, *_CHARTS, cli="tuitrain runs pause {run}"),
    _job("job.save", "S", "Save", "Save a checkpoint now.", RUNS, *_CHARTS, cli="tuitrain runs save {run}"),
    _job(
        "job.stop", "X", "Stop", "Stop with a checkpoint, or kill. Asks first.", RUNS, *_CHARTS, cli="tuitrain runs stop {run}"
    ),
    _job("job.resume", "R", "Resume", "Start a run that ended again.", RUNS, *_CHARTS, cli="tuitrain runs resume {run}"),
    _job("job.delete", "D", "Delete", "Delete a run and all it saved. Asks for its name.", RUNS, cli="tuitrain runs rm {run}"),
    _job(
        "plan.launch",
        "L",
        "Launch",
        "Write the plan as a configuration and start it. Asks first.",
        PLAN,
        cli="tuitrain train CONFIG.toml",
    ),
    _job(
        "plan.measure",
        "M",
        "Measure",
        "Measure how fast this machine trains, once per precision.",
        PLAN,
        cli="tuitrain plan MODEL",
    ),
    _a("back", "escape", "esc", "Back", "Back to where you came from.", *_INNER),
    _quiet("home", "1", "1", "Runs", "The list of runs.", *_NO_DIGITS),
    _quiet("colours", "c", "c", "Colours", "Dark, light, or the terminal's own 16 colours."),
    _quiet("palette", "colon,ctrl+p", ":", "Palette", "Find any action or run by typing."),
    _a("help", "question_mark,f1", "?", "Help", "All keys of this screen."),
    _a("quit", "q,ctrl+q", "q", "Quit", "Leave. Training goes on; `tuitrain` re-attaches."),
)
BY_ID: Final = {action.id: action for action in ACTIONS}
_KEPT_IN_FOOTER = ("help", "quit")


def on_screen(where: str) -> list[Action]:
    """Actions a screen has."""
    return [action for action in ACTIONS if where in action.where]


def bindings(where: str) -> list[BindingType]:
    """Bindings of a screen. They bear the action's id, so a keymap can move them."""
    return [
        Binding(
            action.keys,
            action.call,
            action.label,
            show=action.footer,
            key_display=action.shown_key,
            tooltip=action.tooltip,
            id=action.id,
        )
        for action in on_screen(where)
    ]


def footer_keys(where: str, labels: Mapping[str, str] | None = None, hidden: frozenset[str] = frozenset()) -> list[Key]:
    """Footer entries of a screen. `labels` renames those whose meaning flips, `hidden` leaves out what cannot be done now."""
    labels = labels or {}
    shown = [action for action in on_screen(where) if action.footer and action.id not in hidden]
    job = [action for action in shown if action.touches_job]
    view = [action for action in shown if not action.touches_job]
    # The job's keys come early: on a narrow screen they must not be the ones that fall off.
    return [
        Key(
            action=action.id,
            key=action.shown_key,
            label=labels.get(action.id, action.label),
            touches_job=action.touches_job,
            keep=action.id in _KEPT_IN_FOOTER,
        )
        for action in (*view[:2], *job, *view[2:])
    ]
