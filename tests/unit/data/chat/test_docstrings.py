"""The embedded examples: real docstrings of this Python, the same every time, found without running anything."""

from __future__ import annotations

import sys

import pytest

from tuitrain.data.chat.docstrings import MAX_CHARS, MIN_CHARS, QUESTIONS, docstring_examples
from tuitrain.data.chat.examples import Example
from tuitrain.data.records import BadRow
from tuitrain.data.sources import StdlibSource


@pytest.fixture(scope="module")
def examples():
    return list(docstring_examples())


def question(example):
    return example.messages[0].content


def answer(example):
    return example.messages[-1].content


def test_there_are_thousands_of_each_answer_once(examples):
    assert 4_000 < len(examples) < 9_000
    assert all(isinstance(example, Example) and not example.raw for example in examples)
    assert len({" ".join(answer(example).split()) for example in examples}) == len(examples)
    assert all(MIN_CHARS <= len(answer(example)) <= MAX_CHARS for example in examples)
    assert all([message.role for message in example.messages] == ["user", "assistant"] for example in examples)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="counted on Python 3.11")
def test_the_number_that_the_module_names(examples):
    assert abs(len(examples) - 6_012) < 60  # patch releases differ by a few docstrings


def test_they_stand_in_the_order_of_their_files_and_lines(examples):
    places = [(path, int(line)) for path, _, line in (example.where.rpartition(":") for example in examples)]
    paths = list(dict.fromkeys(path for path, _ in places))
    assert paths == sorted(paths)
    assert paths[0].startswith("Lib/")
    folders = {part for path in paths for part in path.split("/")[1:-1]}
    assert not folders & {"test", "tests", "idle_test", "site-packages", "__pycache__"}


def test_the_answer_is_the_docstring_and_the_question_names_what_it_is_of(examples):
    (dedent,) = [example for example in examples if "textwrap.dedent(text)" in question(example)]
    assert answer(dedent).startswith("Remove any common leading whitespace from every line in `text`.\n\n")
    (counter,) = [each for each in examples if "collections.Counter(iterable=None, /, **kwds)" in question(each)]
    assert answer(counter).startswith("Dict subclass for counting hashable items.")
    assert any("`decimal.Decimal.sqrt(context=None)`" in question(each) for each in examples), "known under its public name"
    assert {each.where for each in examples if question(each).startswith("What is Python's module")}


@pytest.fixture
def library(tmp_path):
    """library({path: source}): a standard library of one's own."""

    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return StdlibSource(tmp_path)

    return make


SOURCE = '''"""A module that is about something or other."""
if True:
    def public(a, /, b: int = 2, *, c=None):
        """Return what the arguments give together.

        \tIndented by a tab."""
else:
    def public():
        """Return what there is on other platforms."""
def _private():
    """Return what nobody outside should ask for."""
def short():
    """Too short."""
def elsewhere():
    """See the documentation of the other one."""
class Thing(Base):
    """One of those things that one has around."""
    def __init__(self, size=1, *parts):
        """Make a thing of this size out of these parts."""
    @classmethod
    def make(cls, x):
        """Make a thing in some other way, by class."""
    @staticmethod
    def check(x):
        """Return whether this can be made a thing of."""
    @property
    def size(self):
        """How large the thing is, counted in inches."""
    def same(self):
        """Return what the arguments  give together. Indented by a tab."""
    class Inner:
        """A thing inside another thing, very small."""
        def _hidden(self):
            """Return what nobody outside should ask for."""
'''


def test_everything_public_is_asked_about_as_it_is_called(library):
    found = list(
        docstring_examples(
            source=library(
                {"things.py": SOURCE, "_own.py": SOURCE, "pkg/__init__.py": '"""About the package that is called pkg."""'}
            )
        )
    )
    wanted = [
        "pkg", "things", "things.public(a, /, b: int=2, *, c=None)", "things.public()", "things.Thing(size=1, *parts)",
        "things.Thing.__init__(size=1, *parts)", "things.Thing.make(x)", "things.Thing.check(x)", "things.Thing.size",
        "things.Thing.Inner",
    ]  # fmt: skip
    for call, example in zip(wanted[1:], found[1:], strict=True):
        assert f"`{call}`" in question(example)
    assert question(found[0]) in {wording.format(name="pkg") for wording in QUESTIONS["module"]}
    assert found[2].where == "Lib/things.py:3"
    assert answer(found[2]) == "Return what the arguments give together.\n\nIndented by a tab."


def test_long_docstrings_end_with_a_paragraph(library):
    paragraphs = "\n\n".join(f"Paragraph {number}: " + "word " * 60 for number in range(8))
    (long,) = docstring_examples(source=library({"long.py": f'"""{paragraphs}"""'}))
    assert answer(long).count("\n\n") == 2
    assert answer(long).endswith("word")
    (solid,) = docstring_examples(source=library({"long.py": f'"""{"word " * 1000}"""'}))
    assert MAX_CHARS - 5 <= len(answer(solid)) <= MAX_CHARS


def test_it_is_the_same_again_and_a_file_that_does_not_parse_is_named(library):
    source = library({"a.py": SOURCE, "b.py": "def broken(:\n"})
    first, again = list(docstring_examples(source=source)), list(docstring_examples(source=source))
    assert first == again
    assert isinstance(first[-1], BadRow)
    assert (first[-1].where, first[-1].kind) == ("Lib/b.py:1", "unreadable")


def test_a_system_prompt_comes_first(library):
    (example,) = docstring_examples("Be brief.", library({"a.py": '"""About the module that is called a."""'}))
    assert [message.role for message in example.messages] == ["system", "user", "assistant"]
