"""Batches of examples: nothing cropped, lost or doubled, each epoch every example once, and the same whoever asks when."""

from __future__ import annotations

import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tuning import FAMILIES, write_rows, write_tokenizer

from tuitrain.config.schema import DataSection, SourceSection
from tuitrain.data.batch import IGNORED, PADDING_DOCUMENT
from tuitrain.data.chat.loader import ExampleLoader, Shape
from tuitrain.data.chat.masks import Masked
from tuitrain.data.chat.packing import pack
from tuitrain.data.chat.preparation import prepare_examples
from tuitrain.data.chat.tokenized import SetBuilder, TokenizedSet, open_set

PAD, STRIDE = 9, 1000
"""Example number n holds the ids n * STRIDE + 10, n * STRIDE + 11 and so on, so every id names its example and place."""
FIELDS = ("tokens", "targets", "document_ids", "position_ids", "lengths", "num_targets", "num_bytes", "liked", "reference")


def set_of(lengths, prompts=None, liked=None):
    """A set of examples of these lengths; all tokens behind the prompt are trained."""
    builder = SetBuilder()
    for number, length in enumerate(lengths):
        prompt = min(2, length) if prompts is None else prompts[number]
        ids = [number * STRIDE + 10 + at for at in range(length)]
        trained = [at >= prompt for at in range(length)]
        masked = Masked(ids=ids, trained=trained, prompt_tokens=prompt)
        builder.add(masked, f"rows:{number}", liked=-1 if liked is None else liked[number])
    arrays = {
        "ids": np.concatenate([*builder.ids, np.zeros(0, np.uint32)]),
        "trained": np.concatenate([*builder.trained, np.zeros(0, np.bool_)]),
        "offsets": np.concatenate([[0], np.cumsum([len(each) for each in builder.ids])]).astype(np.int64),
        "prompts": np.array(builder.prompts, np.int32),
        "liked": np.array(builder.liked, np.int8),
    }
    return TokenizedSet(arrays, builder.where, "hash")


def loader_of(
    lengths,
    *,
    seq_len=16,
    packing=True,
    paired=False,
    truncate=False,
    weights=None,
    seed=7,
    validation=(5,),
    shuffle=True,
    **more,
):
    train = lengths if isinstance(lengths, TokenizedSet) else set_of(lengths, **more)
    return ExampleLoader(
        train,
        set_of(validation),
        Shape(seq_len=seq_len, packing=packing, paired=paired, pad_id=PAD, truncate=truncate),
        weights=np.ones(len(train)) if weights is None else np.array(weights, float),
        token_bytes=np.full(200 * STRIDE, 3, np.int32),
        seed=seed,
        shuffle=shuffle,
    )


def assert_equal(got, want):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)


def pieces_of(batch, row):
    """(example number, its input ids, its targets, its positions) of each document of a packed row, in order."""
    found = []
    for document in range(int(batch.document_ids[row].max()) + 1):
        at = np.flatnonzero(batch.document_ids[row] == document)
        assert (np.diff(at) == 1).all(), "an example is torn"
        found.append(
            (
                int(batch.tokens[row, at[0]] // STRIDE),
                batch.tokens[row, at],
                batch.targets[row, at],
                batch.position_ids[row, at],
            )
        )
    return found


lengths_lists = st.lists(st.integers(3, 17), min_size=1, max_size=40)


# Packing.


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(30, 50), st.integers(0, 3))
def test_packing_loses_and_doubles_nothing(lengths, size, seed):
    bins = pack(np.array(lengths, np.int64), size, np.random.default_rng(seed))
    assert sorted(index for group in bins for index in group) == list(range(len(lengths)))
    fills = sorted(sum(lengths[index] for index in group) for group in bins)
    assert all(0 < fill <= size for fill in fills)
    if len(fills) > 1:  # whoever opened a bin fitted into no other, so no two could be one
        assert fills[0] + fills[1] > size


def test_the_last_token_of_room_is_used():
    assert sorted(map(sorted, pack(np.array([49, 1, 48, 2]), 50, np.random.default_rng(0)))) == [[0, 1], [2, 3]]


@settings(max_examples=60)
@given(lengths=lengths_lists, seed=st.integers(0, 5), prompts=st.data())
def test_an_epoch_shows_every_example_once_and_whole(lengths, seed, prompts):
    chosen = [prompts.draw(st.integers(0, length - 1)) for length in lengths]
    loader = loader_of(lengths, seed=seed, prompts=chosen)
    first = 0
    for _epoch in range(3):
        count = len(loader._epoch(_epoch))
        batch = loader.batch(first, count)
        seen = Counter()
        for row in range(count):
            used = 0
            for number, tokens, targets, positions in pieces_of(batch, row):
                example = loader.train[number]
                seen[number] += 1
                used += len(tokens)
                np.testing.assert_array_equal(tokens, example.ids[:-1])
                np.testing.assert_array_equal(targets, np.where(example.trained[1:], example.ids[1:], IGNORED))
                np.testing.assert_array_equal(positions, np.arange(len(tokens)))
            padding = slice(used, None)
            assert batch.lengths[row] == used
            assert (batch.tokens[row, padding] == PAD).all()
            assert (batch.targets[row, padding] == IGNORED).all()
            assert (batch.document_ids[row, padding] == PADDING_DOCUMENT).all()
            assert (batch.position_ids[row, padding] == 0).all()
        assert seen == Counter(range(len(lengths)))
        assert batch.num_targets == sum(length - max(1, prompt) for length, prompt in zip(lengths, chosen, strict=True))
        assert batch.num_bytes == 3 * batch.num_targets
        assert loader.epoch_of(first) == _epoch
        first += count
    assert loader.epoch_of(first) == 3


@settings(max_examples=40)
@given(lengths=lengths_lists, packing=st.booleans(), chunks=st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_batches_are_the_same_however_they_are_asked_for(lengths, packing, chunks):
    """One integer says what comes: a resumed run asks first for a sequence that the first run came to last."""
    whole = loader_of(lengths, packing=packing)
    total, first = sum(chunks), 0
    everything = whole.batch(0, total)
    for chunk in chunks:
        fresh = loader_of(lengths, packing=packing)
        part = fresh.batch(first, chunk)
        np.testing.assert_array_equal(part.tokens, everything.tokens[first : first + chunk])
        np.testing.assert_array_equal(part.targets, everything.targets[first : first + chunk])
        assert fresh.epoch_of(first) == whole.epoch_of(first)
        first += chunk
    assert_equal(whole.batch(0, total), everything)


def test_far_ahead_is_where_one_comes_to_step_by_step():
    lengths = [3, 5, 9, 12, 4, 4, 7]
    steady, fresh = loader_of(lengths), loader_of(lengths)
    last = [steady.batch(number, 1) for number in range(200)][-1]
    assert_equal(fresh.batch(199, 1), last)
    assert_equal(fresh.batch(0, 1), steady.batch(0, 1))


def test_epochs_and_seeds_differ():
    lengths = list(range(3, 17)) * 2

    def order(seed, epoch):
        loader = loader_of(lengths, packing=False, seed=seed)
        return tuple(loader.batch(epoch * len(lengths), len(lengths)).tokens[:, 0] // STRIDE)

    assert len({order(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9
    loader = loader_of(lengths, packing=False, shuffle=False)
    assert list(loader.batch(0, len(lengths)).tokens[:, 0] // STRIDE) == list(range(len(lengths)))


def test_neighbours_change_from_epoch_to_epoch():
    loader = loader_of([5] * 40, seq_len=16)
    first, second = ({frozenset(group) for group in loader._epoch(epoch)} for epoch in (0, 1))
    assert len(first & second) < 5


def test_the_loading_thread_and_the_loop_may_ask_at_once():
    """The next batch is loaded while the loop asks for the epoch. Both noting where one ends would skip the next."""
    lengths = [3, 5, 9, 12, 4, 4, 7]
    want = loader_of(lengths)
    edges = [want.batch(number, 1) for number in range(60)]
    for _ in range(5):
        loader = loader_of(lengths)
        quick = loader._new_epoch

        def slow(epoch, quick=quick):
            time.sleep(0.002)
            return quick(epoch)

        cache = {}
        loader._epoch = lambda epoch, slow=slow, cache=cache: cache.get(epoch) or cache.setdefault(epoch, slow(epoch))
        start = threading.Barrier(2)

        def ask(loader=loader, start=start):
            start.wait()
            for number in range(60):
                loader.epoch_of(number)

        thread = threading.Thread(target=ask)
        thread.start()
        start.wait()
        got = [loader.batch(number, 1) for number in range(60)]
        thread.join()
        for mine, his in zip(got, edges, strict=True):
            assert_equal(mine, his)


def test_nothing_to_train_on_is_no_endless_search():
    with pytest.raises(AssertionError, match="of 2 examples none"):
        loader_of([2, 40]).batch(0, 1)


# Weights.


def test_whole_weights_are_copies():
    loader = loader_of([5] * 6, packing=False, weights=[1, 2, 3, 1, 1, 2])
    assert loader.sequences_per_epoch == 10
    batch = loader.batch(0, 10)
    assert Counter((batch.tokens[:, 0] // STRIDE).tolist()) == {0: 1, 1: 2, 2: 3, 3: 1, 4: 1, 5: 2}


def test_part_weights_are_chances():
    loader = loader_of([5] * 2, packing=False, weights=[1.0, 0.25])
    seen = Counter((loader.batch(0, 500).tokens[:, 0] // STRIDE).tolist())
    assert 0.17 < seen[1] / seen[0] < 0.34


def test_weights_below_one_leave_no_epoch_empty():
    loader = loader_of([5], packing=False, weights=[1e-9])
    assert loader.batch(0, 4).num_targets == 4 * 3


# Rows that are not packed.


def test_unpacked_rows_hold_one_example_and_no_positions():
    loader = loader_of([5, 17, 3, 9], packing=False)
    batch = loader.batch(0, 4)
    assert batch.document_ids is None
    assert batch.position_ids is None
    assert sorted(batch.lengths) == [2, 4, 8, 16]
    for row in range(4):
        example = loader.train[int(batch.tokens[row, 0] // STRIDE)]
        count = len(example.ids) - 1
        np.testing.assert_array_equal(batch.tokens[row, :count], example.ids[:-1])
        np.testing.assert_array_equal(batch.targets[row, :count], np.where(example.trained[1:], example.ids[1:], IGNORED))
        assert (batch.tokens[row, count:] == PAD).all()
        assert (batch.targets[row, count:] == IGNORED).all()


@pytest.mark.parametrize("packing", [True, False])
def test_an_end_that_is_also_the_padding_is_trained(packing):
    """Masked by position, never by id."""
    train = set_of([6, 4, 9])
    ids = np.array(train._ids)
    ids[train.offsets[1:] - 1] = PAD
    train._ids = ids
    batch = loader_of(train, packing=packing).batch(0, 3 if not packing else 1)
    assert (batch.targets == PAD).sum() == 3
    assert batch.num_targets == 4 + 2 + 7


# Too long.


def test_what_is_too_long_is_left_out_or_cut():
    lengths, prompts = [10, 17, 18, 40, 40, 40, 40], [2, 2, 2, 2, 15, 16, 17]
    dropped = loader_of(lengths, prompts=prompts)
    assert dropped.usable.tolist() == [0, 1]
    cut = loader_of(lengths, prompts=prompts, truncate=True)
    # Of seq_len + 1 ids the last is a target only: a prompt of 16 leaves one token of its answer, one of 17 none.
    assert cut.usable.tolist() == [0, 1, 2, 3, 4, 5]
    batch = cut.batch(0, cut.sequences_per_epoch)
    targets = {
        number: (tokens, targets) for row in range(len(batch.tokens)) for number, tokens, targets, _ in pieces_of(batch, row)
    }
    assert {number: int((each[1] != IGNORED).sum()) for number, each in targets.items()} == {
        0: 8,
        1: 15,
        2: 15,
        3: 15,
        4: 2,
        5: 1,
    }
    assert targets[5][1][-1] == 5 * STRIDE + 10 + 16
    assert all(len(each[0]) <= 16 for each in targets.values())


@settings(max_examples=40)
@given(data=st.data(), truncate=st.booleans(), packing=st.booleans())
def test_every_usable_example_has_something_to_learn(data, truncate, packing):
    lengths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=20))
    prompts = [data.draw(st.integers(0, length)) for length in lengths]
    loader = loader_of(lengths, prompts=prompts, truncate=truncate, packing=packing)
    for unit in loader.usable.tolist():
        batch = loader.rows_of(loader.train, [[unit]])
        # An answer that begins its example has no token before its first one; that one alone is no target.
        assert batch.num_targets >= 1, (lengths[unit], prompts[unit])
    unusable = set(range(len(lengths))) - set(loader.usable.tolist())
    for unit in unusable:
        fits = lengths[unit] - 1 <= 16 or (truncate and prompts[unit] <= 16)
        assert not fits or prompts[unit] >= lengths[unit] or lengths[unit] < 2


# Pairs.


def test_a_pair_is_two_rows_that_stay_together():
    lengths = [5, 9, 17, 4, 30, 4, 6, 31, 8, 8]
    loader = loader_of(lengths, packing=False, paired=True)
    assert loader.usable.tolist() == [0, 2, 8], "a pair of which one is too long is none"
    assert loader.rows_per_sequence == 2
    batch = loader.batch(0, 3)
    numbers = (batch.tokens[:, 0] // STRIDE).tolist()
    assert all(better + 1 == worse for better, worse in zip(numbers[::2], numbers[1::2], strict=True))
    assert sorted(numbers[::2]) == [0, 2, 8]
    assert (batch.num_targets, batch.num_bytes) == (3, 0)
    assert (batch.liked == -1).all()
    for row, number in enumerate(numbers):
        assert (batch.targets[row] != IGNORED).sum() == lengths[number] - 2


def test_references_are_asked_for_by_the_rows_own_numbers():
    loader = loader_of([5] * 8, packing=False, paired=True)
    loader.references = (lambda rows: rows.astype(np.float32) / 2, lambda rows: -rows.astype(np.float32))
    batch = loader.batch(1, 2)
    np.testing.assert_array_equal(batch.reference, batch.tokens[:, 0] // STRIDE / 2)


def test_held_out_pairs_take_their_own_references():
    loader = loader_of([5] * 8, packing=False, paired=True, validation=[5, 5, 6, 6])
    loader.references = (lambda rows: rows.astype(np.float32), lambda rows: -rows.astype(np.float32))
    references = np.concatenate([batch.reference for batch in loader.validation_batches(1)])
    assert references.tolist() == [0, -1, -2, -3]


def test_judgements_come_with_their_rows():
    loader = loader_of([5] * 6, packing=False, paired=True, liked=[1, 1, 0, 0, 1, 1])
    batch = loader.batch(0, 3)
    judged = dict(zip((batch.tokens[:, 0] // STRIDE).tolist(), batch.liked.tolist(), strict=True))
    assert judged == {0: 1, 1: 1, 2: 0, 3: 0, 4: 1, 5: 1}


# Held out.


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(2, 17), min_size=1, max_size=30), packing=st.booleans(), batch=st.integers(1, 5))
def test_every_held_out_example_is_counted_once(lengths, packing, batch):
    loader = loader_of([5], packing=packing, validation=lengths)
    batches = list(loader.validation_batches(batch))
    assert sum(each.num_targets for each in batches) == sum(length - 2 for length in lengths)
    assert sum(each.num_bytes for each in batches) == 3 * sum(length - 2 for length in lengths)
    again = list(loader.validation_batches(batch))
    for one, two in zip(batches, again, strict=True):
        assert_equal(one, two)


def test_a_part_of_the_held_out_is_spread_over_all_of_it():
    loader = loader_of([5], packing=False, validation=[10] * 20)
    batches = list(loader.validation_batches(1, max_tokens=50))
    numbers = [int(each.tokens[0, 0] // STRIDE) for each in batches]
    assert numbers == [0, 4, 8, 12, 16]


# On the disk.


def test_a_set_comes_back_from_the_disk_and_half_of_one_does_not(tmp_path):
    builder = SetBuilder()
    for number, length in enumerate([4, 0, 3]):
        builder.add(
            Masked(ids=list(range(length)), trained=[at > 0 for at in range(length)], prompt_tokens=1),
            f"row {number}",
            liked=number,
        )
    builder.save(tmp_path / "set", "abc")
    read = open_set(tmp_path / "set")
    assert (len(read), read.content_hash, read.where) == (3, "abc", ["row 0", "row 1", "row 2"])
    assert (read.lengths.tolist(), read.trained_counts.tolist(), read.liked.tolist()) == ([4, 0, 3], [3, 0, 2], [0, 1, 2])
    assert read[2].ids.tolist() == [0, 1, 2]
    (tmp_path / "set" / "trained.npy").unlink()
    assert open_set(tmp_path / "set") is None
    SetBuilder().save(tmp_path / "empty", "none")
    assert (len(open_set(tmp_path / "empty")), open_set(tmp_path / "empty").num_tokens) == (0, 0)


def test_a_set_whose_last_example_is_empty_is_read():
    """A template that renders nothing: the check that follows says so, if it is reached."""
    assert set_of([0]).trained_counts.tolist() == [0]
    assert set_of([3, 0, 0]).trained_counts.tolist() == [1, 0, 0]
    assert loader_of(set_of([3, 0]), packing=False).usable.tolist() == [0]


def test_masks_that_went_astray_are_never_written(tmp_path):
    builder = SetBuilder()
    for number in range(3):
        builder.add(Masked(ids=[1, 2], trained=[False, True], prompt_tokens=1), f"row {number}")
    del builder.ids[1:2]
    with pytest.raises(AssertionError, match="2 examples, but"):
        builder.save(tmp_path, "abc")


# Judged answers.


def judged_rows(count, prefix=""):
    return [{"prompt": f"{prefix}p{row} ", "completion": f"{prefix}c{row}", "label": row % 3 == 0} for row in range(count)]


def prepare(tmp_path, *parts, weights=None):
    base = write_tokenizer(tmp_path / "base", FAMILIES["qwen2.5"])
    files = [write_rows(tmp_path / f"rows-{at}.jsonl", rows) for at, rows in enumerate(parts)]
    sources = tuple(
        SourceSection(path=file, weight=weight) for file, weight in zip(files, weights or [1.0] * len(files), strict=True)
    )
    data = DataSection(sources=sources, validation_frac=0.2)
    return prepare_examples(data, stage="dpo", judged=True, base=base, cache_dir=tmp_path / "cache", progress=lambda now: None)


def parts_of(made, examples, index):
    """(prompt, answer) of an example as text."""
    example, prompt = examples[index], int(examples.prompts[index])
    return made.encoder.decode(example.ids[:prompt].tolist()), made.encoder.decode(example.ids[prompt:].tolist())


def test_every_judged_answer_comes_with_one_that_does_not_belong_to_its_prompt(tmp_path):
    made = prepare(tmp_path, [*judged_rows(20), {"prompt": "p3 ", "completion": "another", "label": True}])
    belongs = {f"p{row} ": f"c{row}<|im_end|>" for row in range(20)}
    for examples in (made.train, made.validation):
        assert len(examples) % 2 == 0
        for index in range(0, len(examples), 2):
            (prompt, answer), (same, strange) = parts_of(made, examples, index), parts_of(made, examples, index + 1)
            assert same == prompt
            assert answer in (belongs[prompt], "another<|im_end|>")
            assert strange not in (belongs[prompt], "another<|im_end|>" if prompt == "p3 " else "")
            assert examples.liked[index] == examples.liked[index + 1]
            assert examples.liked[index] == (int(prompt[1:]) % 3 == 0 or answer.startswith("another"))
    assert len(made.train) + len(made.validation) == 42


def test_sources_of_judged_answers_keep_their_weights(tmp_path):
    made = prepare(tmp_path, judged_rows(12), judged_rows(12, "other "), weights=[1.0, 3.0])
    weights = {
        parts_of(made, made.train, index)[0].startswith("other"): made.train_weights[index] for index in range(len(made.train))
    }
    assert weights == {False: 1.0, True: 3.0}


# Micro-batches.


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(3, 17), min_size=8, max_size=16), packing=st.booleans(), size=st.sampled_from([1, 2, 4]))
def test_micro_batches_hold_all_of_the_batch(lengths, packing, size):
    """Cut to the width they need, and not one target narrower."""
    from support.tiny import ALONE

    from tuitrain.trainer.batches import GlobalBatches

    loader = loader_of(lengths, packing=packing)
    batches = GlobalBatches(loader, ALONE, sequences=4, micro_batch=size)
    whole, pieces = loader.batch(0, 4), batches.get(0)
    batches.close()
    assert [len(piece.tokens) for piece in pieces] == [size] * (4 // size)
    assert sum(piece.valid for piece in pieces) == whole.num_targets == (whole.targets >= 0).sum()
    assert sum(int((piece.targets >= 0).sum()) for piece in pieces) == whole.num_targets
    assert sum(piece.read for piece in pieces) == whole.lengths.sum()
    row = 0
    for piece in pieces:
        for tokens, targets in zip(piece.tokens.numpy(), piece.targets.numpy(), strict=True):
            np.testing.assert_array_equal(tokens, whole.tokens[row, : len(tokens)])
            np.testing.assert_array_equal(targets, whole.targets[row, : len(targets)])
            row += 1
