"""One chart on the whole screen."""

from __future__ import annotations

from textual.app import ComposeResult

from tuitrain.tui.actions import CHART, bindings
from tuitrain.tui.render.header import header_line
from tuitrain.tui.render.panes import tab_line
from tuitrain.tui.screens.charted import ChartedScreen
from tuitrain.tui.widgets.chart_pane import ChartPane
from tuitrain.tui.widgets.footer_bar import FooterBar
from tuitrain.tui.widgets.lines import Lines


class ChartScreen(ChartedScreen):
    """The large chart of the dashboard, larger."""

    WHERE = CHART
    BINDINGS = bindings(CHART)

    def compose(self) -> ComposeResult:
        """Header, tabs, chart."""
        ascii_only = self.glyphs.ascii_only
        yield Lines("header", ascii_only=ascii_only)
        yield Lines("tabs", ascii_only=ascii_only)
        yield ChartPane("main", main=True, ascii_only=ascii_only)
        yield FooterBar(CHART, ascii_only=ascii_only)

    def paint(self) -> None:
        """Show the chart as it is now."""
        if not self.on_stage:
            return
        pane = self.query_one("#main", ChartPane)
        if not self.changed(pane.size):
            return
        with self.tail.feed.lock, self.app.batch_update():
            view = self.view()
            self.query_one("#header", Lines).show([header_line(view, self.size.width)])
            self.query_one("#tabs", Lines).show([tab_line(view, self.look.active, self.size.width)])
            pane.key = self.look.active
            pane.paint(view, self.look, self.tail.feed.version)
        self.show_footer()
