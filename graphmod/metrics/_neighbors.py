"""What a node's neighbours say about its label."""

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from ._inputs import chosen_edges


def agreement(graph: Data, labels: Tensor) -> Tensor:
    """Returns the share of each node's neighbours that have its label, float64 `[N]`; NaN without neighbours.

    Args:
        graph: A graph; neighbours are those that the node chose, where the graph says so (`edge_chosen`).
        labels: Int64 `[N]`.
    """
    (source, target), _ = chosen_edges(graph)
    same = (labels[source] == labels[target]).double()
    number = source.bincount(minlength=len(labels))
    return scatter(same, source, dim_size=len(labels)) / number  # 0 / 0 = NaN


def vote(graph: Data, labels: Tensor) -> Tensor:
    """Returns the most frequent label among each node's neighbours, int64 `[N]`; −1 without neighbours.

    Of labels that are equally frequent the one with the larger edge weight wins, then the smaller label.

    Args:
        graph: As in `agreement`.
        labels: Int64 `[N]`.
    """
    classes, labels = labels.unique(return_inverse=True)
    num_nodes, num_classes = len(labels), len(classes)
    (source, target), weight = chosen_edges(graph)
    pairs, number = (source * num_classes + labels[target]).unique(return_inverse=True)
    node, label = pairs // num_classes, pairs % num_classes
    best = torch.ones(len(pairs), dtype=torch.bool, device=labels.device)
    for score in (number.bincount().double(), scatter(weight.double(), number, dim_size=len(pairs))):
        score = torch.where(best, score, -torch.inf)
        best &= score == scatter(score, node, dim_size=num_nodes, reduce="max")[node]
    label = torch.where(best, label, num_classes)
    winner = torch.full((num_nodes,), num_classes, device=labels.device)
    winner = winner.scatter_reduce(0, node, label, "amin")
    return torch.cat([classes, classes.new_tensor([-1])])[winner]
