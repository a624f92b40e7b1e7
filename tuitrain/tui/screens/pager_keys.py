"""The movements of a screen that shows one pager."""

from __future__ import annotations

from textual.screen import Screen

from tuitrain.tui.widgets.pager import Pager


class PagerKeys:
    """Mixed into a screen: what the `page_*` actions of the registry do to its pager."""

    @property
    def pager(self) -> Pager:
        """The text."""
        assert isinstance(self, Screen)
        return self.query_one(Pager)

    def action_page_up(self) -> None:
        """One line up."""
        self.pager.move(lambda offset: offset - 1)

    def action_page_down(self) -> None:
        """One line down."""
        self.pager.move(lambda offset: offset + 1)

    def action_page_back(self) -> None:
        """One page up."""
        self.pager.move(lambda offset: offset - self.pager.page)

    def action_page_on(self) -> None:
        """One page down."""
        self.pager.move(lambda offset: offset + self.pager.page)

    def action_page_first(self) -> None:
        """The first line."""
        self.pager.move(lambda offset: 0)

    def action_page_last(self) -> None:
        """The last page, followed where the pager can."""
        self.pager.to_end()
