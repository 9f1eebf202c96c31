import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler, TensorDataset

from graphmod.samples import collect, collect_draws, draw, interleaved, others


@pytest.mark.parametrize("num_samples", [None, 7])
def test_collect_gives_the_same_from_every_form(num_samples: int | None) -> None:
    x, y = torch.rand(10, 3), torch.arange(10) % 3
    data = TensorDataset(x, y)
    for samples, labels in [
        (x, y), (x, y.tolist()), (x, y.numpy()), (data, None), (DataLoader(data, batch_size=4), None),
        ([(x[:6], y[:6]), (x[6:], y[6:])], None), (DataLoader(x, batch_size=3), y),
    ]:  # fmt: skip
        found = collect(samples, labels, num_samples=num_samples)
        torch.testing.assert_close(found[0], x[:num_samples])
        torch.testing.assert_close(found[1], y[:num_samples])


def test_labels_do_not_fit_a_loader_that_shuffles() -> None:
    data = TensorDataset(torch.rand(10, 3), torch.arange(10) % 3)
    assert collect(DataLoader(data), data.tensors[1])[1].tolist() == data.tensors[1].tolist()
    with pytest.raises(ValueError, match="labels were passed beside a loader that gives its samples in another order"):
        collect(DataLoader(data, shuffle=True), data.tensors[1])


def test_collect_reads_no_more_than_it_needs() -> None:
    read = []

    def batches():
        for i in range(100):
            read.append(i)
            yield torch.rand(4, 2), torch.arange(4) % 2

    collect(batches(), num_samples=6)
    assert len(read) == 2


def test_collect_keeps_pairs_together_however_the_loader_shuffles() -> None:
    x = torch.arange(50.0)[:, None]
    images, labels = collect(DataLoader(TensorDataset(x, torch.arange(50)), batch_size=8, shuffle=True))
    assert torch.equal(images[:, 0].long(), labels)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (None, ValueError, "there are no labels: pass labels, or samples that yield pairs"),
        (torch.rand(6), TypeError, "labels must be integers, the numbers of the classes; got torch.float32"),
        (np.zeros(6, dtype=bool), TypeError, "must be integers, .*; got torch.bool"),
        (["cat"] * 6, TypeError, r"the classes; numpy.unique\(names, return_inverse=True\)\[1\] numbers"),
        (torch.tensor(1), ValueError, r"labels must have shape \[6\], one for each sample; got \[\]"),
        ([0, 1], ValueError, r"labels must have shape \[6\], one for each sample; got \[2\]"),
        (torch.tensor([0, 1, 2, 0, 1, -1]), ValueError, "labels must be at least 0; got -1: leave unlabelled"),
        (torch.ones(6, dtype=torch.int64), ValueError, "at least two classes; all 6 samples have the same"),
    ],
)
def test_wrong_labels(labels, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        collect(torch.rand(6, 2), labels)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
def test_stratified_draws_are_disjoint_and_give_every_class_its_share(
    sizes: list[int], repeats: int, num_samples: int, seed: int
) -> None:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    if repeats * num_samples > len(labels):
        return
    draws = draw(labels, num_samples, repeats, seed=seed)
    rows = torch.cat(draws)
    assert len(draws) == repeats
    assert len(rows.unique()) == repeats * num_samples
    for subset in draws:
        share = labels[subset].bincount(minlength=len(sizes)) - num_samples * torch.tensor(sizes) / len(labels)
        assert share.abs().max() < 2
    assert all(torch.equal(a, b) for a, b in zip(draws, draw(labels, num_samples, repeats, seed=seed), strict=True))


@pytest.mark.parametrize(
    "sizes", [[10_000] + [10] * 99, [2000] + [2] * 99, [1000 // (i + 1) for i in range(100)], [7] * 30 + [300, 5], [9]]
)
def test_every_beginning_of_the_order_holds_each_class_in_its_share(sizes: list[int]) -> None:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    for seed in range(3):
        order = interleaved(labels, seed)
        assert torch.equal(order.sort().values, torch.arange(len(labels)))
        number, seen = torch.arange(1, len(labels) + 1), labels[order]
        for label, size in enumerate(sizes):
            assert ((seen == label).cumsum(0) - number * size / len(labels)).abs().max() < 1
        few = min(500, len(labels))
        assert torch.equal(interleaved(labels, seed, num_samples=few)[:few], order[:few])
        assert torch.equal(interleaved(labels, seed, num_samples=few).sort().values, torch.arange(len(labels)))


def test_rare_classes_come_in_a_random_order() -> None:
    labels = torch.tensor([0] * 1000 + [*range(1, 100)])
    first = [set(labels[draw(labels, 500, 2, seed=seed)[0]].tolist()) for seed in (0, 1)]
    assert min(map(len, first)) > 40
    assert first[0] != first[1]


def test_balanced_classes_are_drawn_equally() -> None:
    for subset in draw(torch.arange(1000) % 10, 200, 5, seed=3):
        assert subset.remainder(10).bincount().tolist() == [20] * 10


def test_seeds_differ() -> None:
    labels = torch.arange(100) % 4
    assert not torch.equal(draw(labels, 50, seed=0)[0], draw(labels, 50, seed=1)[0])


def test_wrong_draws() -> None:
    labels = torch.arange(10) % 2
    with pytest.raises(ValueError, match="3 x 4 samples were asked for, there are 10; lower num_samples or repeats"):
        draw(labels, 4, 3)
    with pytest.raises(ValueError, match="must be at least 1; got 0 and 1"):
        draw(labels, 0)
    with pytest.raises(ValueError, match="order must be 'file' or 'stratified'; got 'random'"):
        draw(labels, 2, order="random")


def test_others_are_all_that_a_draw_has_left() -> None:
    y = torch.arange(50) % 5
    rows = draw(y, 20, seed=3)[0]
    left = others(rows, 50)
    assert sorted([*rows.tolist(), *left.tolist()]) == list(range(50))
    assert left.tolist() == sorted(left.tolist())
    with pytest.raises(
        ValueError, match="all 50 samples are drawn, and none is left to train on or to judge; draw fewe"
    ):
        others(torch.arange(50), 50)


def test_reading_a_data_set_draws_nothing() -> None:
    data = TensorDataset(torch.rand(9, 4), torch.arange(9) % 2)
    before = torch.get_rng_state()
    collect(data)
    assert torch.equal(torch.get_rng_state(), before)


def test_labels_beside_a_loader_whose_batches_are_shuffled() -> None:
    data = TensorDataset(torch.rand(40, 3))
    for sampler in (RandomSampler(data), SequentialSampler(data)):
        loader = DataLoader(data, batch_sampler=BatchSampler(sampler, 20, drop_last=False))
        if isinstance(sampler, SequentialSampler):
            assert len(collect(loader, torch.arange(40) % 2)[0]) == 40
        else:
            with pytest.raises(
                ValueError, match="labels were passed beside a loader that gives its samples in another"
            ):
                collect(loader, torch.arange(40) % 2)


class Counted(Dataset):
    """A data set that counts how often it is read."""

    def __init__(self, listed: bool) -> None:
        self.x, self.y, self.reads = torch.rand(400, 3), torch.arange(400) % 7, 0
        if listed:
            self.targets = self.y.tolist()

    def __len__(self) -> int:
        return 400

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        return self.x[i], int(self.y[i])


@pytest.mark.parametrize(("listed", "given", "reads"), [(True, False, 60), (False, True, 60), (False, False, 400)])
def test_a_draw_of_few_reads_few_where_labels_are_known(listed: bool, given: bool, reads: int) -> None:
    data = Counted(listed)
    x, y, rows = collect_draws(data, data.y if given else None, 20, 3, seed=5)
    assert data.reads == reads
    for found, expected in zip(rows, draw(data.y, 20, 3, seed=5), strict=True):
        assert torch.equal(x[found], data.x[expected])
        assert torch.equal(y[found], data.y[expected])
    with pytest.raises(ValueError, match="3 x 200 samples were asked for, there are 400; lower num_samples or repeats"):
        collect_draws(data, data.y if given else None, 200, 3)


def test_three_parts_do_not_say_which_are_the_labels() -> None:
    data = TensorDataset(torch.rand(6, 2), torch.arange(6) % 3, torch.arange(6) % 2)
    for samples in (data, DataLoader(data, batch_size=3)):
        with pytest.raises(TypeError, match=r"samples must come as x or \(x, y\); got 3 parts, of which any may be"):
            collect(samples)


def test_labels_of_pandas_whatever_their_index() -> None:
    y = pd.Series([0, 1, 0, 2], index=[7, 3, 9, 4])
    x = torch.rand(4, 2)
    for labels in (y, y.astype("uint8"), y.astype("Int64"), y.astype("category").cat.codes):
        assert collect(x, labels)[1].tolist() == [0, 1, 0, 2]
