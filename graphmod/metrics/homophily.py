"""Homophily: do edges join nodes of one class? As torch_geometric counts it."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import homophily as pyg_homophily

from ._inputs import edge_weights, graph_of_node, node_labels

Method = Literal["edge", "node", "edge_insensitive"]


def homophily(graph: Data, labels: Tensor | None = None, *, method: Method = "edge") -> Tensor:
    """Returns the homophily of a graph: how far its edges, each counted once whatever its weight, join equal labels.

    Args:
        graph: A `Data`, or a `Batch` of them.
        labels: Integers `[N]`; `graph.y` if None.
        method: `"edge"`, the share of the edges that join nodes of one class; `"node"`, the mean over the nodes of that
            share among their edges; `"edge_insensitive"`, corrected for the sizes of the classes: 0 where edges join
            the classes no more than chance would.

    Returns:
        Float64 in [0, 1], `[]` or `[B]`, computed by torch_geometric in float32.

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
    node_graph, _ = graph_of_node(graph)
    found = pyg_homophily(graph.edge_index, labels, node_graph, method)
    found = torch.as_tensor(found, dtype=torch.float64, device=labels.device)
    return found.reshape(-1) if isinstance(graph, Batch) else found.squeeze()
