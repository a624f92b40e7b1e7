"""The split: stable, about as large as asked for, and a larger share holds out everything a smaller one did."""

from __future__ import annotations

from tuitrain.data.records import Document
from tuitrain.data.split import is_held_out


def held_out(frac, count=4000):
    return {number for number in range(count) if is_held_out(Document(text=f"text {number}", where=""), frac)}


def test_the_choice_never_changes():
    assert sorted(held_out(0.05))[:6] == [8, 18, 32, 70, 81, 97]


def test_about_the_share_asked_for():
    assert 0.04 < len(held_out(0.05)) / 4000 < 0.06


def test_a_larger_share_holds_out_all_of_a_smaller_one():
    assert held_out(0.02) <= held_out(0.05) <= held_out(0.3)


def test_the_same_text_falls_on_the_same_side_wherever_it_stands():
    sides = {is_held_out(Document(text="twice", where=f"file:{line}", index=line), 0.4) for line in range(20)}
    assert len(sides) == 1


def test_a_split_key_replaces_the_text():
    keyed = [is_held_out(Document(text=text, where="", split_key="os.py"), 0.5) for text in ("old", "new", "newer", "newest")]
    assert len(set(keyed)) == 1
