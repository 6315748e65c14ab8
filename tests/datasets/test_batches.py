"""Batches: every patch once, in an order that is the same everywhere, turned by one of eight symmetries."""

import hashlib
import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill import open_dataset
from slidemill.datasets.batches import one_hot, symmetries_of
from slidemill.datasets.shuffle import RUN, SLIDES, WINDOW, order, random_numbers
from slidemill.errors import SlidemillError, StoreError
from slidemill.stores import store_pool
from slidemill.stores.arrays import SYMMETRIES, turn_into, turn_view
from tests.results import SIZE

KINDS = ("blocks", "exact", True, False)


def cohort(*sizes):
    """The number of each patch's slide, for slides of so many patches."""
    return np.repeat(np.arange(len(sizes)), sizes)


class TestOrder:
    @given(sizes=st.lists(st.integers(0, 70), max_size=40), shuffle=st.sampled_from(KINDS), seed=st.integers(0, 2**40))
    def test_it_has_each_patch_once(self, sizes, shuffle, seed):
        slides = cohort(*sizes)
        assert sorted(order(slides, shuffle, seed, 0)) == list(range(len(slides)))

    def test_it_is_the_same_on_every_machine(self):
        """Pinned: if a new NumPy changes it, a training that is resumed sees other patches."""
        slides = cohort(*range(1, 60))
        found = {
            shuffle: hashlib.sha256(order(slides, shuffle, 3, 1).astype("<i8").tobytes()).hexdigest()[:16]
            for shuffle in ("blocks", "exact")
        }
        assert found == {"blocks": "4ddd84454302d1b3", "exact": "773833b4a1037b90"}
        assert [int(number) % 1000 for number in random_numbers(3, 1, 2)] == [579, 902, 91]

    def test_a_long_seed_is_not_a_short_one_and_an_epoch(self):
        assert random_numbers(2, 5 + 7 * 2**32, 0).tolist() != random_numbers(2, 5, 7).tolist()

    @pytest.mark.parametrize("count", [33, 34, 65])
    def test_no_batch_is_of_a_few_slides_that_were_left_over(self, count):
        slides = cohort(*[200] * count)
        batches = np.array_split(slides[order(slides, "blocks", 0, 0)], range(32, len(slides), 32))
        assert min(len(set(batch.tolist())) for batch in batches if len(batch) == 32) >= 5

    @pytest.mark.parametrize("shuffle", ["blocks", "exact"])
    def test_seed_and_epoch_change_it(self, shuffle):
        slides = cohort(300, 200, 100)
        orders = {order(slides, shuffle, seed, epoch).tobytes() for seed in range(3) for epoch in range(3)}
        assert len(orders) == 9
        assert order(slides, shuffle, 1, 2).tobytes() in orders

    def test_exact_gives_each_order_with_the_same_chance(self):
        counts = dict.fromkeys(itertools.permutations(range(4)), 0)
        for seed in range(4800):
            counts[tuple(order(cohort(2, 2), "exact", seed, 0))] += 1
        # Chi-squared of 23 degrees of freedom: above 55 in 2 of 10,000 such samples, and these are always the same.
        assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 55

    def test_blocks_read_few_slides_at_a_time_and_each_in_one_go(self):
        slides = cohort(*[50] * (3 * SLIDES))
        read = slides[order(slides, "blocks", 0, 0)]
        groups = [set(part) for part in np.split(read, 3)]
        assert [len(group) for group in groups] == [SLIDES] * 3
        assert not set.intersection(*groups)
        assert groups != [set(part) for part in np.split(slides, 3)]

    def test_blocks_read_patches_that_lie_side_by_side_close_to_each_other(self):
        slides = cohort(*[RUN * 40] * 10)
        places = np.argsort(order(slides, "blocks", 0, 0))  # when each patch is read
        spread = np.ptp(places.reshape(-1, RUN), axis=1)
        assert spread.max() < RUN * WINDOW
        exact = np.argsort(order(slides, "exact", 0, 0))
        assert np.ptp(exact.reshape(-1, RUN), axis=1).mean() > 2 * spread.mean()

    def test_a_batch_of_blocks_is_of_many_runs(self):
        """Patches that lie side by side are alike, and a batch of them teaches little."""
        slides = cohort(*[RUN * 40] * 10)
        batches = order(slides, "blocks", 0, 0).reshape(-1, 64) // RUN
        assert np.mean([len(set(batch)) for batch in batches]) > 35


class TestSymmetries:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)

    def test_they_are_eight_and_each_is_there_once(self):
        assert len({turn_view(self.pixels, number).tobytes() for number in range(SYMMETRIES)}) == SYMMETRIES == 8

    def test_they_are_flips_and_quarter_turns_and_no_others(self):
        turns = {np.rot90(own, count).tobytes() for own in (self.pixels, self.pixels[:, ::-1]) for count in range(4)}
        assert {turn_view(self.pixels, number).tobytes() for number in range(SYMMETRIES)} == turns

    def test_one_after_another_is_one_of_them_and_each_is_undone_by_one(self):
        known = {turn_view(self.pixels, number).tobytes() for number in range(SYMMETRIES)}
        for first in range(SYMMETRIES):
            after = [turn_view(turn_view(self.pixels, first), second).tobytes() for second in range(SYMMETRIES)]
            assert set(after) == known

    @pytest.mark.parametrize("number", range(SYMMETRIES))
    def test_they_are_views_and_are_written_as_they_are_seen(self, number):
        view = turn_view(self.pixels, number)
        assert np.shares_memory(view, self.pixels)
        out = np.zeros((3, *self.pixels.shape), np.uint8)
        turn_into(self.pixels, number, out[1])
        assert np.array_equal(out[1], view)
        assert not out[::2].any()
        many = np.stack([self.pixels, self.pixels[::-1]])
        assert np.array_equal(turn_view(many, number)[1], turn_view(many[1], number))

    @pytest.mark.parametrize("number", [0, 1, 3, 4, 5, 6, 7])
    def test_no_array_of_another_shape_or_order_is_left_as_it_was(self, dataset, number):
        store = dataset.store("a-slide")
        wrong = [np.zeros((SIZE + 1, SIZE, 3), np.uint8), np.zeros((SIZE, 2 * SIZE, 3), np.uint8)[:, ::2]]
        for out in wrong:
            with pytest.raises(StoreError, match="out is"):
                store.read_into(store.ids[0], out, number)

    @pytest.mark.parametrize("number", [-1, 8])
    def test_there_is_no_ninth(self, number):
        with pytest.raises(ValueError, match="a square has 8"):
            turn_view(self.pixels, number)

    def test_each_is_drawn_as_often(self):
        counts = np.bincount(symmetries_of(80_000, 1, 2), minlength=8)
        assert len(counts) == 8
        assert abs(counts - 10_000).max() < 400
        assert (symmetries_of(100, 1, 2) != symmetries_of(100, 1, 3)).any()


def by_id(batches):
    """By a patch's name its pixels and its label."""
    return {name: (pixels, label) for batch in batches for pixels, label, name in zip(*batch, strict=True)}


class TestBatches:
    @pytest.mark.parametrize("shuffle", KINDS)
    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_they_hold_each_patch_once_with_its_own_pixels_and_label(self, dataset, truth, shuffle, workers):
        batches = list(dataset.batches(4, shuffle=shuffle, workers=workers))
        assert [len(batch.pixels) for batch in batches] == [4, 4, 4, 4, 2]
        found = by_id(batches)
        assert len(found) == len(truth)
        for row in dataset.table.itertuples():
            pixels, label = found[f"{row.slide}/{row.patch_id}"]
            assert np.array_equal(pixels, truth[row.Index])
            assert label == row.label
        assert batches[0].pixels.dtype == np.uint8
        assert batches[0].labels.dtype == np.int64

    def test_workers_change_nothing(self, dataset):
        one, many = (list(dataset.batches(4, seed=2, augment=True, workers=count)) for count in (0, 3))
        for left, right in zip(one, many, strict=True):
            assert left.ids == right.ids
            assert np.array_equal(left.pixels, right.pixels)

    def test_all_backends_give_the_same(self, results):
        found = []
        for backend in ("lmdb", "hdf5", "disk"):
            with open_dataset(results, backend) as dataset:
                found.append(list(dataset.batches(5, augment=True)))
        for others in zip(*found, strict=True):
            assert len({(batch.pixels.tobytes(), *batch.ids) for batch in others}) == 1

    def test_the_last_is_left_out_if_that_is_wanted(self, dataset):
        assert [len(batch.ids) for batch in dataset.batches(4, drop_last=True)] == [4, 4, 4, 4]
        assert [len(batch.ids) for batch in dataset.batches(6, drop_last=True)] == [6, 6, 6]

    def test_augmented_patches_are_turned_as_the_seed_says(self, dataset, truth):
        turns = symmetries_of(len(truth), 3, 1)
        assert len(set(turns.tolist())) > 3
        plain = by_id(dataset.batches(4, seed=3, epoch=1))
        augmented = by_id(dataset.batches(4, seed=3, epoch=1, augment=True))
        assert list(plain) == list(augmented)
        for row in dataset.table.itertuples():
            wanted = turn_view(truth[row.Index], int(turns[row.Index]))
            assert np.array_equal(augmented[f"{row.slide}/{row.patch_id}"][0], wanted)

    def test_one_hot_labels_leave_out_what_has_no_class_and_say_so(self, dataset):
        with pytest.warns(UserWarning, match="6 of 18 patches have the label -1"):
            batches = list(dataset.batches(5, one_hot=True))
        found = by_id(batches)
        kept = dataset.table[dataset.table["label"] >= 0]
        assert set(found) == set(kept["slide"].astype(str) + "/" + kept["patch_id"])
        for row in kept.itertuples():
            assert found[f"{row.slide}/{row.patch_id}"][1].tolist() == [row.label == 0, row.label == 1]
        assert batches[0].labels.dtype == np.float32
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # The classes are the cohort's, whatever was selected.
            assert next(dataset.select(labels=0).batches(2, one_hot=True)).labels.tolist() == [[1, 0], [1, 0]]

    def test_no_label_becomes_the_last_class_by_chance(self):
        assert one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
        for wrong in (-1, 3):
            with pytest.raises(SlidemillError, match=f"label {wrong} is none of 3 classes"):
                one_hot(np.array([0, wrong]), 3)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"size": 0}, "size is 0"),
            ({"size": 2.5}, r"size is 2\.5"),
            ({"size": 4, "workers": -1}, "workers is -1"),
            ({"size": 4, "shuffle": "random"}, "shuffle is 'random'"),
            ({"size": 4, "seed": -2}, "seed is -2"),
            ({"size": 4, "seed": 1.5}, r"seed is 1\.5"),
            ({"size": 4, "epoch": -1}, "epoch is -1"),
        ],
    )
    def test_wrong_arguments_are_told_at_once(self, dataset, arguments, told):
        with pytest.raises(SlidemillError, match=told):
            dataset.batches(**arguments)

    def test_a_loop_may_be_left(self, dataset):
        for workers in (0, 2):
            batches = dataset.batches(2, workers=workers)
            next(batches)
            batches.close() if workers else None
            assert next(dataset.batches(2, workers=workers)).pixels.shape == (2, SIZE, SIZE, 3)

    def test_a_broken_patch_ends_it_by_name(self, dataset, monkeypatch):
        def broken(self, patch_id):
            raise RuntimeError("broken")

        monkeypatch.setattr(type(dataset.store("b-slide")), "_lend", broken)
        for workers in (0, 2):
            with pytest.raises(RuntimeError, match="broken"):
                list(dataset.batches(4, workers=workers))

    def test_shuffled_stores_are_opened_once_an_epoch(self, results, monkeypatch):
        opened = []
        original = store_pool.open_store
        monkeypatch.setattr(store_pool, "open_store", lambda path: (opened.append(path), original(path))[1])
        monkeypatch.setattr("slidemill.datasets.shuffle.SLIDES", 1)
        with open_dataset(results, most_open=1) as dataset:
            list(dataset.batches(2))
            assert len(opened) == 3
