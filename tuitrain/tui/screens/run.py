"""The live dashboard of one run: header, tiles, charts, newest alert, log, samples. Its layout follows the terminal's size."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from tuitrain.tui.actions import RUN, bindings
from tuitrain.tui.bridge import RunTail
from tuitrain.tui.render.header import header_lines
from tuitrain.tui.render.metrics import keys_of
from tuitrain.tui.render.panes import alert_line, log_pane, note_text, sample_pane, sample_steps, tab_line
from tuitrain.tui.render.ranks import ranks_pane
from tuitrain.tui.render.spans import Line
from tuitrain.tui.render.tiles import tiles, tiles_block, tiles_row
from tuitrain.tui.render.view import RunView
from tuitrain.tui.screens.charted import ChartedScreen
from tuitrain.tui.widgets.chart_pane import ChartPane, Look
from tuitrain.tui.widgets.footer_bar import FooterBar
from tuitrain.tui.widgets.lines import Lines

SIDE_CHARTS = 4


class RunScreen(ChartedScreen):
    """The dashboard."""

    WHERE = RUN
    BINDINGS = bindings(RUN)
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (100, "-wide"), (160, "-huge")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (15, "-short"), (30, "-tall"), (45, "-high")]  # noqa: RUF012

    def __init__(self, tail: RunTail) -> None:
        super().__init__(tail, Look())
        self._sample_index: int | None = None
        self._told_t_ns: int | None = None
        self.shown_steps = 0
        """Steps the last paint showed."""

    def compose(self) -> ComposeResult:
        """Everything is there from the start; the stylesheet shows what the size has room for."""
        ascii_only = self.glyphs.ascii_only
        yield Lines("header", ascii_only=ascii_only)
        yield Lines("tiles", ascii_only=ascii_only)
        yield Lines("tabs", ascii_only=ascii_only)
        with Horizontal(id="charts"):
            yield ChartPane("main", main=True, ascii_only=ascii_only)
            with Vertical(id="side"):
                for index in range(SIDE_CHARTS):
                    yield ChartPane(f"side-{index}", main=False, ascii_only=ascii_only)
        yield Lines("ranks", ascii_only=ascii_only)
        yield Lines("alert", ascii_only=ascii_only)
        with Horizontal(id="bottom"):
            yield Lines("log", ascii_only=ascii_only)
            yield Lines("sample", ascii_only=ascii_only)
        yield Lines("card", ascii_only=ascii_only)
        yield FooterBar(RUN, ascii_only=ascii_only)

    def paint(self) -> None:
        """Show the run as it is now. Returns at once when nothing changed."""
        sizes = tuple(each.size for each in self.query(Lines))
        if not self.on_stage or not self.changed(self._sample_index, sizes):
            return
        with self.tail.feed.lock, self.app.batch_update():
            view = self.view()
            self.shown_steps = len(view.state.steps)
            if self.has_class("-tiny") or self.has_class("-flat"):
                self._show("card", card_lines(view, self.size.width))
            else:
                self._paint_panes(view)
        self.show_footer()
        self._tell_answers(view)

    def _paint_panes(self, view: RunView) -> None:
        width = self.size.width
        roomy = (self.has_class("-wide") or self.has_class("-huge")) and (self.has_class("-tall") or self.has_class("-high"))
        self._show("header", header_lines(view, width))
        self._show("tiles", tiles_block(view, width) if roomy else tiles_row(view, width))
        self._show("tabs", [tab_line(view, self.look.active, width)])
        self._show("ranks", ranks_pane(view, width, self._rank_rows))
        alert = alert_line(view, width)
        self._show("alert", [alert] if alert else [])
        version = self.tail.feed.version
        panes = list(self.query(ChartPane))
        for pane, key in zip(panes, [self.look.active, *self.look.others(SIDE_CHARTS, keys_of(view))], strict=True):
            pane.key = key
            pane.paint(view, self.look, version)
        log, sample = self.query_one("#log", Lines), self.query_one("#sample", Lines)
        if log.size.area:
            log.show(log_pane(self.tail.log.lines, log.size.width, log.size.height, view.glyphs))
        if sample.size.area:
            sample.show(sample_pane(view, self._sample_index, sample.size.width, sample.size.height))

    @property
    def _rank_rows(self) -> int:
        """Ranks the dashboard has room for."""
        return 8 if self.has_class("-high") else 4 if self.has_class("-tall") else 0

    def _show(self, pane_id: str, lines: list[Line]) -> None:
        self.query_one(f"#{pane_id}", Lines).show(lines)

    def _tell_answers(self, view: RunView) -> None:
        """What the trainer answered since the dashboard was opened comes up as a toast."""
        notes = [event for event in view.state.notes if event.kind == "control_ack"]
        newest = notes[-1].t_ns if notes else 0
        if self._told_t_ns is None:
            if self.tail.caught_up.is_set():
                self._told_t_ns = newest
            return
        for event in notes:
            if event.t_ns > self._told_t_ns:
                text, style = note_text(event)
                self.tui.say(text, severity="information" if style == "good" else "warning")
        self._told_t_ns = max(self._told_t_ns, newest)

    def _scrub(self, by: int) -> None:
        with self.tail.feed.lock:
            count = len(sample_steps(self.tail.feed.state.samples))
        if count:
            at = (count - 1 if self._sample_index is None else self._sample_index) + by
            self._sample_index = None if at >= count - 1 else max(0, at)
        self.paint()

    def action_older(self) -> None:
        """Samples of an earlier step."""
        self._scrub(-1)

    def action_newer(self) -> None:
        """Samples of a later step; the last one is followed."""
        self._scrub(1)

    def action_zoom(self) -> None:
        """The large chart on the whole screen."""
        from tuitrain.tui.screens.chart_full import ChartScreen

        self.app.push_screen(ChartScreen(self.tail, self.look))

    def action_explain(self) -> None:
        """What the numbers mean."""
        from tuitrain.tui.screens.explain import ExplainScreen

        self.app.push_screen(ExplainScreen(self.view, self.tail.feed.lock))

    def on_unmount(self) -> None:
        """Nobody looks any more."""
        self.tui.bridge.close_run(self.tail.run_folder)


def card_lines(view: RunView, width: int) -> list[Line]:
    """The numbers alone, for terminals too small for charts."""
    rows: list[Line] = list(header_lines(view, width))
    for each in tiles(view):
        drift: Line = ((f" {each.drift[0]}", each.drift[1]),) if each.drift else ()
        rows.append(((f"{each.label:>6} ", "label"), (each.value, "value"), *drift, (f"  {each.below}", "dim")))
    return [*rows, (("enlarge to 80x24 for charts", "dim"),)]
