"""The token microscope: what a fine-tuning run learns from, token by token; serving beside training; a summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from textual.app import ComposeResult

from tuitrain.files import write_atomic
from tuitrain.runs.store import Run
from tuitrain.text import clean_line
from tuitrain.tui.actions import TOKENS, bindings
from tuitrain.tui.messages import JobDone
from tuitrain.tui.render.data_report import report_lines
from tuitrain.tui.render.flight import counts
from tuitrain.tui.render.format import count
from tuitrain.tui.render.panes import fill, tabs
from tuitrain.tui.render.spans import BLANK, Line, cut_text
from tuitrain.tui.render.token_diff import diff_legend, diff_lines
from tuitrain.tui.render.tokens import TokenPage, about_token, legend, token_page
from tuitrain.tui.screens.examples import ExamplesScreen
from tuitrain.tui.screens.go_to import GoToScreen
from tuitrain.tui.screens.jobs import Say
from tuitrain.tui.screens.pager_keys import PagerKeys
from tuitrain.tui.theme import palette_of
from tuitrain.tui.tokens.examples import Compared, Examples, Shown
from tuitrain.tui.tokens.reading import PAGE
from tuitrain.tui.widgets.footer_bar import FooterBar
from tuitrain.tui.widgets.lines import Lines
from tuitrain.tui.widgets.pager import Pager

VIEWS: Final = (("examples", "examples"), ("sequences", "sequences"), ("serving", "serving"), ("summary", "summary"))


@dataclass(slots=True)
class _Place:
    """Where a view stands."""

    index: int = 0
    """Of the example or sequence."""
    cursor: int = 0
    """Of the token."""


class TokensScreen(PagerKeys, ExamplesScreen):
    """Four views of a run's training examples."""

    WHERE = TOKENS
    BINDINGS = bindings(TOKENS)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.looking = "examples"
        self._example, self._sequence = _Place(), _Place()
        self._made: tuple[object, Any] = (None, None)
        """What was looked at last, so that a key does not make it anew."""
        self._page = TokenPage()

    def compose(self) -> ComposeResult:
        """Tabs, what the colours mean, the text, one token, the keys."""
        ascii_only = self.glyphs.ascii_only
        yield Lines("tabs", ascii_only=ascii_only)
        yield Lines("legend", ascii_only=ascii_only)
        yield Pager("pager", self.glyphs)
        yield Lines("about", ascii_only=ascii_only)
        yield FooterBar(TOKENS, ascii_only=ascii_only)

    # --- what is shown ------------------------------------------------------------------------------------------------

    def paint(self) -> None:
        """Show the view as it stands."""
        if not self.on_stage or self.pager.size.area == 0:
            return
        width = self.size.width
        with self.app.batch_update():
            self._lines("tabs").show([tabs(VIEWS, self.looking, width, "tab another view")])
            if self.looking == "summary":
                self._show_summary(width)
            elif self.examples is None:
                self._show_waiting()
            elif self.looking == "serving":
                self._show_serving(self.examples, width)
            else:
                self._show_tokens(self.examples, width)
            self.query_one(FooterBar).show_keys({}, self._meaningless())

    def _meaningless(self) -> frozenset[str]:
        """Keys that have nothing to act on now."""
        if self.looking == "summary" or self.examples is None:
            written = set() if self.report else {"examples.write"}
            return frozenset({"token.previous", "example.previous", "example.next", "example.find"} | written)
        return frozenset({"token.previous"}) if self.looking == "serving" else frozenset()

    def _show_waiting(self) -> None:
        """Before there is anything to see: how far it is, or why it will not come."""
        room = self.pager.inner_width
        if self.failed:
            body: list[Line] = [((row, "bad"),) for row in fill(f"these examples cannot be read: {self.failed}", room)]
        else:
            body = [((cut_text(clean_line(self.said) or "reading the examples", room, self.glyphs.ellipsis), "dim"),)]
        self._show(((self.looking, "title"),), "", body, BLANK, BLANK)

    def _show_tokens(self, examples: Examples, width: int) -> None:
        of_sequence = self.looking == "sequences"
        place, total = (self._sequence, examples.sequences) if of_sequence else (self._example, examples.count)
        if not total:
            none = "no example can be trained on: see the summary" if of_sequence else "there is no training example"
            self._show(((self.looking, "title"),), "", [((none, "bad"),)], BLANK, BLANK)
            return
        make = examples.sequence if of_sequence else examples.example
        shown: Shown = self._kept((self.looking, place.index), lambda: make(place.index))
        place.cursor = min(place.cursor, len(shown.view["spans"]) - 1)
        marks = self.glyphs.ascii_only or palette_of(self.app.current_theme) == "ansi"
        borders = {"pack": examples.row_names} if examples.row_names else {"document": ("example",)}
        names = borders if of_sequence else {}
        self._page = token_page(shown.view, self.pager.inner_width, self.glyphs, marks=marks, cursor=place.cursor, names=names)
        about = self._about(shown, place.cursor, width)
        title = self._title("sequence" if of_sequence else "example", place.index, total, shown.title)
        self._show(title, self._noted(shown.note), self._page.lines, legend(shown.view, width, marks=marks), about)

    def _about(self, shown: Shown, cursor: int, width: int) -> Line:
        if cursor < 0:
            return BLANK
        learns = shown.learns[cursor] if shown.learns else None
        position = shown.positions[cursor] if shown.positions else None
        return about_token(shown.view, cursor, width, self.glyphs, learns, position)

    def _show_serving(self, examples: Examples, width: int) -> None:
        place = self._example
        if not examples.count:
            self._show((("serving", "title"),), "", [(("there is no training example", "bad"),)], BLANK, BLANK)
            return
        compared: Compared = self._kept(("serving", place.index), lambda: examples.serving(place.index))
        room = self.pager.inner_width
        if compared.diff is None:
            body: list[Line] = [((row, "dim"),) for row in fill(f"nothing to compare: {compared.reason}", room)]
        else:
            body = diff_lines(compared.diff, room, self.glyphs)
        title = self._title("example", place.index, examples.count, compared.title)
        self._show(title, "the prompt, served and trained", body, diff_legend(width), BLANK)

    def _show_summary(self, width: int) -> None:
        if self.report is None:
            self._show_waiting()
            return
        room = self.pager.inner_width
        body = self._kept(("summary", room, self.glyphs.ascii_only), lambda: report_lines(self.report or {}, room, self.glyphs))
        found = counts_of(self.report)
        self._show(((clean_line(str(self.report["title"])), "title"),), self._noted(found), body, BLANK, BLANK)

    def _title(self, what: str, index: int, total: int, place: str) -> Line:
        """'example 3 of 190  .../chats.jsonl:7': of a long place the end is what tells."""
        place, room = clean_line(place), max(12, self.size.width // 3)
        end = place[-room:]
        short = place if len(place) <= room else self.glyphs.ellipsis + end[max(0, end.find("/")) :]
        return ((f"{what} {count(index + 1)}", "title"), (f" of {count(total)}", "dim"), (f"  {short}", "value"))

    def _noted(self, note: str) -> str:
        """A note, and that the data is no longer what was trained on, where it is so."""
        changed = self.examples is not None and self.examples.changed
        return "CHANGED since the newest checkpoint, " + note if changed else note

    def _kept(self, key: object, make: Callable[[], Any]) -> Any:
        """The thing looked at, made once."""
        if self._made[0] != key:
            self._made = key, make()
        return self._made[1]

    def _show(self, title: Line, note: str, body: list[Line], legend_line: Line, about: Line) -> None:
        self._lines("legend").show([legend_line] if legend_line else [])
        self._lines("about").show([about] if about else [])
        self.pager.fill(body, title, note)

    def _lines(self, pane_id: str) -> Lines:
        return self.query_one(f"#{pane_id}", Lines)

    # --- what the keys do ---------------------------------------------------------------------------------------------

    def _turn(self, by: int) -> None:
        names = [key for key, _ in VIEWS]
        self.looking = names[(names.index(self.looking) + by) % len(names)]
        self.pager.move(lambda _: 0)
        self.paint()

    def action_tokens_view(self) -> None:
        """The next view."""
        self._turn(1)

    def action_tokens_view_back(self) -> None:
        """The view before."""
        self._turn(-1)

    def _go(self, index: int) -> None:
        """Look at another example or sequence, from its beginning."""
        if self.examples is None or self.looking == "summary":
            return
        place, total = (
            (self._sequence, self.examples.sequences) if self.looking == "sequences" else (self._example, self.examples.count)
        )
        if total:
            place.index, place.cursor = min(total - 1, max(0, index)), 0
            self.pager.move(lambda _: 0)
            self.paint()

    @property
    def _index(self) -> int:
        return (self._sequence if self.looking == "sequences" else self._example).index

    def action_example_previous(self) -> None:
        """The one before."""
        self._go(self._index - 1)

    def action_example_next(self) -> None:
        """The next one."""
        self._go(self._index + 1)

    def action_example_find(self) -> None:
        """Ask which one."""
        if self.examples is not None and self.looking != "summary":
            sequences = self.looking == "sequences"
            total = self.examples.sequences if sequences else self.examples.count
            self.app.push_screen(GoToScreen("sequence" if sequences else "example", total, text=not sequences), self._found)

    def _found(self, wanted: str | None) -> None:
        if not wanted or self.examples is None:
            return
        if wanted.isdecimal():
            self._go(int(wanted) - 1)
            return
        index = self.examples.find(wanted, self._example.index)
        if index is None:
            self.tui.say(f"no example holds {wanted!r}", severity="warning")
        else:
            self._go(index)

    def _move_cursor(self, by: int) -> None:
        if self.examples is None or self.looking not in ("examples", "sequences") or not self._page.row_of:
            return
        place = self._sequence if self.looking == "sequences" else self._example
        place.cursor = min(len(self._page.row_of) - 1, max(0, place.cursor + by))
        row, page = self._page.row_of[place.cursor], self.pager.page
        self.pager.move(lambda offset: min(row, max(offset, row - page + 1)))
        self.paint()

    def action_token_previous(self) -> None:
        """The token before."""
        self._move_cursor(-1)

    def action_token_next(self) -> None:
        """The next token."""
        self._move_cursor(1)

    def action_examples_write(self) -> None:
        """The report as a page, in a thread."""
        examples, path, first = self.examples, self.run_folder.path / PAGE, self._example.index
        if examples is None or self.report is None:
            why = (
                "there is nothing to write" if self.failed else "still counting: the page is written when the summary is there"
            )
            self.tui.say(why, severity="warning")
            return

        def work(say: Say) -> JobDone:
            write_atomic(path, examples.page(first))
            return JobDone(f"wrote {path}")

        self.tui.bridge.job("export", work)


def counts_of(report: dict[str, Any]) -> str:
    """'1 block, 2 warn, 8 ok' of a report's findings."""
    from tuitrain.data.chat.findings import Finding

    return counts([Finding.from_dict(each) for each in report["findings"]])
