"""One line of text being typed: a value and the pure steps of its cursor. Keys are Textual's names."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Editor:
    """Text with a cursor."""

    text: str
    at: int
    fresh: bool = False
    """Nothing was typed yet: the first character replaces the text, a movement keeps it."""

    @staticmethod
    def of(text: str) -> Editor:
        """The whole text, as if selected."""
        return Editor(text, len(text), fresh=True)

    def typed(self, text: str) -> Editor:
        """Characters put in at the cursor."""
        if self.fresh:
            return Editor(text, len(text))
        return Editor(self.text[: self.at] + text + self.text[self.at :], self.at + len(text))

    def key(self, key: str) -> Editor | None:
        """The line after an editing key; None when the key edits nothing."""
        text, at = self.text, self.at
        if key in ("backspace", "ctrl+h"):
            if self.fresh:
                return Editor("", 0)
            return Editor(text[: max(0, at - 1)] + text[at:], max(0, at - 1))
        if key in ("delete", "ctrl+d"):
            return Editor("", 0) if self.fresh else Editor(text[:at] + text[at + 1 :], at)
        if key == "ctrl+u":
            return Editor(text[at:], 0)
        if key == "ctrl+w":
            kept = text[:at].rstrip()
            kept = kept[: max(kept.rfind(" "), kept.rfind("-")) + 1]
            return Editor(kept + text[at:], len(kept))
        moved = {
            "left": max(0, at - 1), "right": min(len(text), at + 1), "home": 0, "ctrl+a": 0, "end": len(text),
            "ctrl+e": len(text),
        }  # fmt: skip
        return replace(self, at=moved[key], fresh=False) if key in moved else None
