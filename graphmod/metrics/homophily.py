"""Homophily: do edges join nodes of one class?"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import scatter

from ._inputs import edge_weights, graph_of_node, mean_over_nodes, node_labels

Method = Literal["edge", "node", "edge_insensitive"]


def homophily(graph: Data, labels: Tensor | None = None, *, method: Method = "edge") -> Tensor:
    """Returns the homophily of a graph: how far its edges, each counted once whatever its weight, join equal labels.

    Args:
        graph: A `Data`, or a `Batch` of them. Edges count as they are listed, as in torch_geometric.
        labels: Integers `[N]`; `graph.y` if None.
        method: `"edge"`, the share of the edges that join nodes of one class; `"node"`, the mean of that share among
            the edges to a node, over the nodes that have any; `"edge_insensitive"`, corrected for the sizes of the
            classes, 1/(C − 1) Σ_c max(0, h_c − n_c/N), with h_c the share among the edges to nodes of class c.

    Returns:
        Float64 in [0, 1], `[]` or `[B]`; NaN if a graph has no edges, or for `"edge_insensitive"` one class. Equal to
        `torch_geometric.utils.homophily`, which counts in float32, takes nodes without edges for 0 and labels that do
        not occur for classes.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If the method is unknown; if edges or labels are missing, or labels negative or of another length.

    Example:
        >>> square = Data(edge_index=torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]), num_nodes=4)
        >>> homophily(square, torch.tensor([0, 0, 1, 1]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        Edge: Zhu et al., NeurIPS 2020. Node: Pei et al., "Geom-GCN", ICLR 2020. Class-insensitive: Lim et al., "Large
        scale learning on non-homophilous graphs", NeurIPS 2021.
    """
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}; got {method!r}")
    labels = node_labels(graph, labels)
    edge_weights(graph)  # refuses what is no graph
    source, target = graph.edge_index
    same = (labels[source] == labels[target]).double()
    node_graph, num_graphs = graph_of_node(graph)
    if method == "node":
        return mean_over_nodes(
            graph, scatter(same, target, dim_size=len(labels)) / target.bincount(minlength=len(labels))
        )
    if method == "edge":
        group, groups, group_graph = node_graph, num_graphs, torch.arange(num_graphs, device=labels.device)
    else:  # the classes of each graph
        pairs, group = (node_graph * len(labels) + labels).unique(return_inverse=True)
        groups, group_graph = len(pairs), pairs // len(labels)
    share = scatter(same, group[target], dim_size=groups) / group[target].bincount(minlength=groups)
    if method == "edge_insensitive":
        size = node_graph.bincount(minlength=num_graphs)[group_graph]
        share = (share.nan_to_num() - group.bincount(minlength=groups).double() / size).clamp(min=0)
        share = scatter(share, group_graph, dim_size=num_graphs)
        number = group_graph.bincount(minlength=num_graphs) - 1
        edges = node_graph[target].bincount(minlength=num_graphs)
        share = torch.where((number > 0) & (edges > 0), share / number, torch.nan)
    return share if isinstance(graph, Batch) else share.squeeze(0)
