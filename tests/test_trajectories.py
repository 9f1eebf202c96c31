"""The way of samples and communities through the layers, on answers known beforehand."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch_geometric.data import Data

from graphmod import DynamicGraph, knn_graph
from graphmod.trajectories import community_events, community_flows, prediction_depth


def growing(layers: int = 5, n: int = 120) -> tuple[list[Tensor], Tensor]:
    """Three classes that come apart layer by layer."""
    generator, labels = torch.Generator().manual_seed(0), torch.arange(n) % 3
    noise = torch.randn(n, 6, generator=generator)
    return [noise + separation * torch.eye(6)[labels] for separation in torch.linspace(0, 5, layers)], labels


def test_prediction_depth_against_scikit_learn() -> None:
    layers, labels = growing()
    found = prediction_depth([knn_graph(x, 1) for x in layers], labels)
    right = []
    for x in layers:  # one neighbour: no ties
        unit = x / x.norm(dim=1, keepdim=True)
        search = NearestNeighbors(n_neighbors=2).fit(unit.numpy())
        neighbor = search.kneighbors(unit.numpy(), return_distance=False)
        other = np.where(neighbor[:, 0] == np.arange(len(x)), neighbor[:, 1], neighbor[:, 0])
        right.append(labels.numpy()[other] == labels.numpy())
    for i, column in enumerate(np.array(right).T):
        last_wrong = np.flatnonzero(~column)
        assert int(found[i]) == (last_wrong[-1] + 2 if len(last_wrong) else 1)
    assert len(found.unique()) > 3


def test_a_sample_among_another_class_to_the_end_is_never_settled() -> None:
    layers, labels = growing()
    labels = labels.clone()
    labels[0] = 1
    depth = prediction_depth([knn_graph(x, 5, y=labels) for x in layers])
    assert int(depth[0]) == 6
    assert depth.double().mean() < 5


def test_prediction_depth_needs_graphs() -> None:
    with pytest.raises(ValueError, match="expected the graphs of several layers; got none"):
        prediction_depth([], torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="expected the graphs of several layers; got one graph: pass a dynamic graph"):
        prediction_depth(Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2))
    with pytest.raises(ValueError, match="the graph has no labels y"):
        prediction_depth([Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2)])


def test_prediction_depth_takes_a_dynamic_graph_and_refuses_other_nodes() -> None:
    layers, labels = growing()
    graphs = DynamicGraph({str(i): knn_graph(x, 3, y=labels) for i, x in enumerate(layers)})
    assert torch.equal(prediction_depth(graphs), prediction_depth(graphs.values()))
    with pytest.raises(ValueError, match=r"the graphs must have the same nodes; got \[120, 60\] nodes"):
        prediction_depth([knn_graph(layers[0], 3), knn_graph(layers[0][:60], 3)], labels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_events_of_any_integers_with_gaps(dtype: torch.dtype) -> None:
    same = torch.full((2, 4), 20)
    assert community_events(same.to(dtype)).iloc[1].tolist() == [2, 1, 0, 0, 0, 0, 0]
    found = torch.tensor([[0, 0, 9, 9], [9, 9, 9, 120]])
    pd.testing.assert_frame_equal(community_events(found.to(dtype)), community_events(found))
    large = torch.tensor([[0, 10**6], [10**6, 0]])
    assert community_events(large).switching[1] == 1
    many = torch.stack([torch.arange(16_000)] * 2)
    assert community_events(many).num_communities.tolist() == [16_000, 16_000]


def test_a_share_is_met_exactly() -> None:
    found = torch.tensor([[0] * 100, [1] * 15 + [0] * 85])
    assert community_events(found, share=0.15).splits[1] == 1
    assert community_events(found, share=0.16).splits[1] == 0


def test_a_share_that_rounds_up_is_met_too() -> None:
    found = torch.tensor([[0] * 100, [1] * 93 + [2] * 7])
    assert community_events(found, share=0.07).splits.tolist()[1:] == [1]


def test_flows_count_every_sample_once_a_step() -> None:
    generator = torch.Generator().manual_seed(0)
    found = torch.randint(0, 4, (5, 80), generator=generator)
    labels = torch.randint(0, 3, (80,), generator=generator)
    flows = community_flows(found, labels)
    assert flows.groupby("depth").num_samples.sum().tolist() == [80] * 4
    for _, row in flows.iterrows():
        there = (found[row.depth - 1] == row.community) & (found[row.depth] == row.next_community)
        assert int((there & (labels == row.label)).sum()) == row.num_samples > 0


def test_events() -> None:
    found = torch.tensor(
        [
            [0] * 10 + [1] * 10 + [2] * 10,  # three communities
            [0] * 10 + [1] * 10 + [2] * 10,  # nothing happens
            [0] * 10 + [1] * 5 + [3] * 5 + [2] * 10,  # 1 splits, 3 is born
            [0] * 20 + [2] * 10,  # 1 and 3 join 0 and vanish
            [0] * 19 + [2] * 11,  # one sample changes: too little for a split or a merge
        ]
    )
    table = community_events(found).set_index("depth")
    assert table.num_communities.tolist() == [3, 3, 4, 2, 2]
    assert table.loc[1, ["switching", "births", "deaths", "splits", "merges"]].isna().all()
    assert table.loc[2].tolist() == [3, 0, 0, 0, 0, 0]
    assert table.loc[3].tolist() == [4, pytest.approx(5 / 30), 1, 0, 1, 0]
    assert table.loc[4].tolist() == [2, pytest.approx(10 / 30), 0, 2, 0, 1]
    assert table.loc[5].tolist() == [2, pytest.approx(1 / 30), 0, 0, 0, 0]
    assert community_events(found, share=0.05).splits.tolist()[-1] == 1


@pytest.mark.parametrize("found", [torch.zeros(5), torch.zeros(1, 5).long(), torch.zeros(2, 5)])
def test_bad_communities(found: Tensor) -> None:
    with pytest.raises(ValueError, match=r"found must be integers \[L, N\] of at least two layers; got"):
        community_events(found)
    with pytest.raises(ValueError, match=r"found must be integers \[L, N\]"):
        community_flows(found, torch.zeros(5))


def test_bad_labels_and_share() -> None:
    found = torch.zeros(2, 5, dtype=torch.int64)
    with pytest.raises(TypeError, match=r"found must be a tensor of integers \[L, N\]; got list"):
        community_events(found.tolist())
    with pytest.raises(ValueError, match=r"labels must have shape \[5\], one for each sample; got \[4\]"):
        community_flows(found, torch.zeros(4))
    with pytest.raises(ValueError, match=r"share must be in \(0, 0.5\]; got 0.7"):
        community_events(found, share=0.7)


def test_labels_that_are_no_tensor() -> None:
    with pytest.raises(TypeError, match="labels must be a tensor of integers; got list"):
        community_flows(torch.tensor([[0, 1], [1, 0]]), [0, 1])
