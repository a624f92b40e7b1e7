"""The reference's log-probabilities on disk: found again, gone on with, shared, and never trusted when torn."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tuitrain.files import exclusive_lock
from tuitrain.trainer.preference import reference_cache
from tuitrain.trainer.preference.reference_cache import LOCK, MANIFEST, ReferenceCache, cache_key

KEY = cache_key(model="m", data="d", tokenizer="t", compute={"dtype": "bfloat16"})


def cache(folder: Path, examples: int = 10) -> ReferenceCache:
    return ReferenceCache(folder, KEY, examples=examples)


def value(*indices: int) -> np.ndarray:
    return np.array([[-index - 0.25, -index - 0.75] for index in indices], dtype=np.float32)


def pieces(folder: Path) -> list[Path]:
    return sorted((folder / KEY).glob("*.npy"))


def test_what_is_put_is_found_by_the_next_process(tmp_path: Path) -> None:
    first = cache(tmp_path)
    assert first.missing().tolist() == list(range(10))
    first.put([3, 1], value(3, 1))
    first.put(np.array([7]), value(7))
    again = cache(tmp_path)
    assert again.missing().tolist() == [0, 2, 4, 5, 6, 8, 9]
    assert not again.complete
    np.testing.assert_array_equal(again.get([7, 3, 1, 3]), value(7, 3, 1, 3))
    assert again.get([1]).dtype == np.float32
    again.put(again.missing(), value(*again.missing()))
    assert again.complete
    assert first.complete
    np.testing.assert_array_equal(first.get(range(10)), value(*range(10)))


def test_a_row_that_is_missing_or_outside_is_an_error(tmp_path: Path) -> None:
    mine = cache(tmp_path)
    mine.put([0], value(0))
    with pytest.raises(KeyError, match=r"2 of 3 rows have no reference yet, first 4"):
        mine.get([0, 4, 5])
    with pytest.raises(IndexError, match="example 10 of 10"):
        mine.get([10])
    with pytest.raises(IndexError, match="example -1 of 10"):
        mine.put([-1], value(0))


@pytest.mark.parametrize("odd", [np.nan, -np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, odd: float) -> None:
    mine = cache(tmp_path)
    with pytest.raises(ValueError, match="example 2 is not finite"):
        mine.put([1, 2], [[-1.0, -1.0], [-1.0, odd]])
    assert mine.missing().size == 10


def test_nothing_is_put_where_nothing_is_given(tmp_path: Path) -> None:
    cache(tmp_path).put([], [])
    assert pieces(tmp_path) == []


@pytest.mark.parametrize("damage", ["torn", "flipped", "gone", "empty"])
def test_a_damaged_piece_is_discarded_by_name(tmp_path: Path, damage: str) -> None:
    mine = cache(tmp_path)
    mine.put([0, 1], value(0, 1))
    (kept,) = pieces(tmp_path)
    mine.put([2, 3], value(2, 3))
    (broken,) = (path for path in pieces(tmp_path) if path != kept)
    data = bytearray(broken.read_bytes())
    if damage == "gone":
        broken.unlink()
    else:
        data[-3] ^= 1
        broken.write_bytes({"torn": data[:-5], "flipped": data, "empty": b""}[damage])
    again = cache(tmp_path)
    assert again.discarded == [broken.name]
    assert again.missing().tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert pieces(tmp_path) == [kept]
    again.put([2, 3], value(2, 3))
    np.testing.assert_array_equal(cache(tmp_path).get([0, 1, 2, 3]), value(0, 1, 2, 3))


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"version": 0}', "{}"])
def test_a_damaged_manifest_starts_anew(tmp_path: Path, text: str) -> None:
    cache(tmp_path).put([0], value(0))
    (tmp_path / KEY / MANIFEST).write_text(text)
    again = cache(tmp_path)
    assert again.discarded == [MANIFEST]
    assert again.missing().size == 10
    assert pieces(tmp_path) == []


def test_pieces_listed_as_nonsense_are_not_trusted(tmp_path: Path) -> None:
    cache(tmp_path).put([0], value(0))
    manifest = json.loads((tmp_path / KEY / MANIFEST).read_text())
    (name,) = manifest["pieces"]
    for odd in (None, {}, {"sha256": 3}, "x"):
        (tmp_path / KEY / MANIFEST).write_text(json.dumps({**manifest, "pieces": {name: odd}}))
        assert cache(tmp_path).missing().size == 10


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    mine = cache(tmp_path)
    for name in ("0123.npy", ".abcd.npy.x7q_", f".{MANIFEST}.k2"):
        (tmp_path / KEY / name).write_bytes(b"half")
    (tmp_path / KEY / "notes.txt").write_text("not ours")
    mine.put([0], value(0))
    assert {path.name for path in (tmp_path / KEY).iterdir()} == {MANIFEST, ".lock", "notes.txt", pieces(tmp_path)[0].name}


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = cache(tmp_path)
    mine.put([0], value(0))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reference_cache, "write_piece", full)
    with pytest.raises(OSError, match="No space"):
        mine.put([1], value(1))
    assert mine.missing().tolist() == cache(tmp_path).missing().tolist() == list(range(1, 10))


def test_many_small_pieces_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_cache, "PIECES", 4)
    mine, other = cache(tmp_path, 100), cache(tmp_path, 100)
    for index in range(0, 60, 3):
        mine.put(range(index, index + 3), value(*range(index, index + 3)))
        assert len(pieces(tmp_path)) <= 4
    assert other.missing().tolist() == list(range(60, 100))
    for each in (mine, other, cache(tmp_path, 100)):
        np.testing.assert_array_equal(each.get(range(60)), value(*range(60)))
        assert each.discarded == []


def test_the_first_to_put_a_row_wins(tmp_path: Path) -> None:
    one, two = cache(tmp_path), cache(tmp_path)
    one.put([0, 1], value(0, 1))
    two.put([1, 2], value(5, 6))
    np.testing.assert_array_equal(two.get([0, 1, 2]), value(0, 1, 6))
    assert one.missing().tolist() == [3, 4, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(one.get([2]), value(6))


def test_only_one_writes_at_a_time(tmp_path: Path) -> None:
    mine = cache(tmp_path)
    writer = threading.Thread(target=mine.put, args=([0], value(0)))
    with exclusive_lock(tmp_path / KEY / LOCK, wait=True):
        writer.start()
        writer.join(timeout=0.2)
        assert writer.is_alive()
        assert pieces(tmp_path) == []
    writer.join(timeout=30)
    assert cache(tmp_path).get([0]).tolist() == value(0).tolist()


def test_the_key_is_everything_the_values_depend_on() -> None:
    facts = {"model": "m", "data": "d", "tokenizer": "t", "compute": {"dtype": "bfloat16", "length": 512}}
    keys = {cache_key(**facts), cache_key(**{**facts, "compute": {"dtype": "float32", "length": 512}})}
    keys |= {cache_key(**{**facts, name: "x"}) for name in ("model", "data", "tokenizer")}
    assert len(keys) == 5
    assert cache_key(**{**facts, "compute": {"length": 512, "dtype": "bfloat16"}}) == cache_key(**facts)


def test_another_key_is_another_folder(tmp_path: Path) -> None:
    cache(tmp_path).put([0], value(0))
    assert ReferenceCache(tmp_path, "other", examples=10).missing().size == 10


def test_a_key_for_two_sizes_is_an_error(tmp_path: Path) -> None:
    cache(tmp_path).put([0], value(0))
    with pytest.raises(ValueError, match="the key leaves out what they depend on"):
        cache(tmp_path, 11)
    with pytest.raises(ValueError, match="the key leaves out what they depend on"):
        ReferenceCache(tmp_path, KEY, examples=10, columns=("answer", "mismatched", "other"))
    assert cache(tmp_path).missing().size == 9


WORKER = """
import sys
from pathlib import Path
import numpy as np
sys.modules["torch"] = None  # the cache must not need it
import types
package = types.ModuleType("tuitrain.trainer.preference"); package.__path__ = [sys.argv[3]]
sys.modules["tuitrain.trainer.preference"] = package
from tuitrain.trainer.preference.reference_cache import ReferenceCache
mine = ReferenceCache(Path(sys.argv[1]), "key", examples=40)
for start in range(0, 40, 2):
    rows = np.array([start, start + 1])
    mine.put(rows, np.full((2, 2), float(sys.argv[2])) - rows[:, None])
assert mine.complete
np.save(Path(sys.argv[1]) / f"seen{sys.argv[2]}.npy", mine.get(range(40)))
"""


def test_two_processes_at_once_agree_and_need_no_torch(tmp_path: Path) -> None:
    package = str(Path(reference_cache.__file__).parent)
    root = str(Path(package).parents[2])
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), str(number), package], cwd=root)
        for number in (-100, -200)
    ]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    seen = [np.load(tmp_path / f"seen{number}.npy") for number in (-100, -200)]
    np.testing.assert_array_equal(*seen)
    final = ReferenceCache(tmp_path, "key", examples=40)
    np.testing.assert_array_equal(final.get(range(40)), seen[0])
    assert final.discarded == []
