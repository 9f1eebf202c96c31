"""The terms of Q by class, pair and sample: against loops over the definition, and all summing to Q."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import matrix
from strategies import weighted_graphs
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphmod import knn_graph, modularity
from graphmod.mixing import class_communities, class_mixing, sample_modularity, worst_samples

RESOLUTIONS = st.sampled_from([0.0, 0.5, 1.0, 2.5])


@given(weighted_graphs(), RESOLUTIONS)
def test_terms_sum_to_q(graph: tuple[Data, Tensor], resolution: float) -> None:
    data, labels = graph
    q = float(modularity(data, labels, resolution=resolution))
    mixing = class_mixing(data, labels, resolution=resolution)
    assert float(mixing.by_class.sum()) == pytest.approx(q, abs=1e-12)
    assert float(sample_modularity(data, labels, resolution=resolution).sum()) == pytest.approx(q, abs=1e-12)
    samples = sample_modularity(data, labels, resolution=resolution)
    by_class = [float(samples[labels == c].sum()) for c in mixing.classes]
    assert by_class == pytest.approx(mixing.by_class.tolist(), abs=1e-12)


@given(weighted_graphs(), RESOLUTIONS)
def test_mixing_by_a_loop(graph: tuple[Data, Tensor], resolution: float) -> None:
    data, labels = graph
    a = matrix(data)
    found = class_mixing(data, labels, resolution=resolution)
    assert found.classes.tolist() == sorted(set(labels.tolist()))
    assert found.observed.shape == found.expected.shape == (len(found.classes), len(found.classes))
    for i, c in enumerate(found.classes):
        for j, d in enumerate(found.classes):
            share = a[np.ix_(labels == c, labels == d)].sum() / a.sum()
            chance = resolution * a[labels == c].sum() * a[labels == d].sum() / a.sum() ** 2
            assert float(found.observed[i, j]) == pytest.approx(share, abs=1e-12)
            assert float(found.expected[i, j]) == pytest.approx(chance, abs=1e-12)
    assert torch.equal(found.observed, found.observed.T)
    assert float(found.observed.sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(found.ratio, found.observed / found.expected, equal_nan=True)


@given(weighted_graphs(), RESOLUTIONS)
def test_samples_by_a_loop(graph: tuple[Data, Tensor], resolution: float) -> None:
    data, labels = graph
    a = matrix(data)
    strength, total = a.sum(1), a.sum()
    found = sample_modularity(data, labels, resolution=resolution)
    for i in range(data.num_nodes):
        same = (labels == labels[i]).numpy()
        expected = (a[i] - resolution * strength[i] * strength / total)[same].sum() / total
        assert float(found[i]) == pytest.approx(expected, abs=1e-12)


def test_one_direction_and_loops() -> None:
    edges = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 3, 0]])
    graph = Data(edge_index=edges, edge_weight=torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), num_nodes=4)
    labels = torch.tensor([0, 0, 1, 1])
    q = float(modularity(graph, labels))
    assert float(class_mixing(graph, labels).by_class.sum()) == pytest.approx(q, abs=1e-12)
    assert float(sample_modularity(graph, labels).sum()) == pytest.approx(q, abs=1e-12)


def test_a_swapped_label_is_the_worst_sample_and_its_company_is_named(clusters: tuple[Tensor, Tensor]) -> None:
    x, labels = clusters
    labels = labels.clone()
    labels[[7, 20]] = torch.tensor([2, 0])  # were 1 and 2
    names = torch.tensor([1000, 1, 2])  # a label above the number of samples keeps its name
    assert worst_samples(knn_graph(x, 5), names[labels], num_samples=2).label.tolist() in ([2, 1000], [1000, 2])
    assert class_mixing(knn_graph(x, 5), names[labels]).classes.tolist() == [1, 2, 1000]
    table = worst_samples(knn_graph(x, 5), labels, num_samples=4)
    assert set(table["sample"][:2]) == {7, 20}
    assert len(table) == 4
    seven = table[table["sample"] == 7].iloc[0]
    assert (seven.label, seven.agreement, seven.neighbors) == (2, 0, 1)
    assert seven.contribution < 0 < table.contribution[2]
    assert table.contribution.is_monotonic_increasing
    assert len(worst_samples(knn_graph(x, 5), labels, num_samples=1000)) == 60


def test_without_edges_every_term_is_nan() -> None:
    empty = Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=4, y=torch.tensor([0, 0, 1, 1]))
    assert class_mixing(empty).observed.isnan().all()
    assert sample_modularity(empty).isnan().all()


@pytest.mark.parametrize("function", [class_mixing, sample_modularity, worst_samples])
def test_bad_input(function, clusters: tuple[Tensor, Tensor]) -> None:
    x, y = clusters
    graph = knn_graph(x, 3, y=y)
    with pytest.raises(ValueError, match="resolution must be at least 0; got -1"):
        function(graph, resolution=-1)
    with pytest.raises(ValueError, match=r"labels must have shape \[60\]"):
        function(graph, y[:5])
    with pytest.raises(ValueError, match="edge_index must hold numbers of 3 nodes; got 5"):
        function(Data(edge_index=torch.tensor([[0], [5]]), num_nodes=3), torch.tensor([0, 1, 1]))
    with pytest.raises(TypeError, match="expected one graph; got a Batch of 2"):
        function(Batch.from_data_list([graph, graph]))


def test_a_negative_number_of_samples(clusters: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="num_samples must be at least 0; got -1"):
        worst_samples(knn_graph(clusters[0], 3), clusters[1], num_samples=-1)


# --- communities of a class ---


def test_class_communities() -> None:
    labels = torch.tensor([3] * 10 + [5] * 10 + [8] * 4)
    found = torch.tensor([0] * 8 + [1] * 2 + [1] * 5 + [2] * 4 + [4] + [9] * 4)
    table = class_communities(found, labels)
    pd.testing.assert_frame_equal(
        table,
        pd.DataFrame(
            {
                "label": [3, 5, 8],
                "num_samples": [10, 10, 4],
                "num_communities": [2, 2, 1],
                "largest_community": [0, 1, 9],
                "largest_share": [0.8, 0.5, 1.0],
                "shared_with": ["5", "3", ""],
            }
        ),
    )
    assert class_communities(found, labels, coverage=1.0).num_communities.tolist() == [2, 3, 1]
    assert class_communities(found, labels, coverage=0.8).num_communities.tolist() == [1, 2, 1]
    assert class_communities(found, labels, shared=0.3).shared_with.tolist() == ["", "", ""]


def test_class_communities_refuses() -> None:
    labels = torch.tensor([0, 1])
    with pytest.raises(TypeError, match="found and labels must be tensors; got list and Tensor"):
        class_communities([0, 1], torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"found and labels must be \[N\] both; got \[1\] and \[2\]"):
        class_communities(labels[:1], labels)
    with pytest.raises(ValueError, match=r"coverage and shared must be in \(0, 1\]; got 0 and 0.2"):
        class_communities(labels, labels, coverage=0)
