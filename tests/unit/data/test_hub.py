"""Hugging Face datasets, by a stand-in for the package: rows, pinned revisions, and what happens without it or a network."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tuitrain.config.schema import SourceSection
from tuitrain.data.records import Document
from tuitrain.data.sources import Gauge, open_source
from tuitrain.errors import EnvironmentError_

ROWS = [{"body": "one"}, {"body": None}, {"body": "three"}]


class Rows(list):
    def skip(self, count):
        return Rows(self[count:])


@pytest.fixture
def hub(monkeypatch):
    """Stand-ins; `hub.asked` keeps what load_dataset was asked for."""
    hub = SimpleNamespace(asked=[], sha="abc123")

    def load_dataset(name, subset, **options):
        hub.asked.append((name, subset, options))
        return Rows(ROWS)

    def dataset_info(name, timeout):
        if hub.sha is None:
            raise OSError("no network")
        return SimpleNamespace(sha=hub.sha)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setitem(
        sys.modules, "huggingface_hub", SimpleNamespace(HfApi=lambda: SimpleNamespace(dataset_info=dataset_info))
    )
    return hub


SECTION = SourceSection(dataset="owner/set", subset="en", text_key="body")


def read(source, after=0):
    (item,) = source.inputs()
    return list(source.read(item, after=after, gauge=Gauge()))


def test_rows_are_streamed_at_a_pinned_revision_without_remote_code(hub):
    source = open_source(SECTION, {})
    records = read(source)
    assert [record.text for record in records if isinstance(record, Document)] == ["one", "three"]
    assert (records[1].kind, records[1].where) == ("null", "owner/set (en) [train]:2")
    assert hub.asked == [("owner/set", "en", {"split": "train", "streaming": True, "revision": "abc123"})]
    assert read(source, after=2) == records[2:]


def test_the_revision_is_part_of_the_inputs_name_and_remembered(hub):
    revisions = {}
    assert open_source(SECTION, revisions).inputs()[0].name == "owner/set/en/train@abc123"
    assert revisions == {"owner/set": "abc123"}
    hub.sha = None
    assert open_source(SECTION, revisions).inputs()[0].name.endswith("@abc123")


def test_without_network_and_memory_it_is_an_error(hub):
    hub.sha = None
    with pytest.raises(EnvironmentError_, match="no network"):
        open_source(SECTION, {}).inputs()


def test_a_stream_that_breaks_off_is_no_bad_row(hub, monkeypatch):
    class Broken(Rows):
        def __iter__(self):
            yield ROWS[0]
            raise RuntimeError("connection reset")

    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", lambda *_, **__: Broken(ROWS))
    with pytest.raises(EnvironmentError_, match="connection reset") as error:
        read(open_source(SECTION, {}))
    assert "kept" in error.value.hint


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(EnvironmentError_) as error:
        open_source(SECTION, {}).inputs()
    assert error.value.hint == "pip install datasets"
