"""Label overlap: how many of a sample's neighbours have its class."""

from torch import Tensor
from torch_geometric.data import Data

from ._inputs import mean_over_nodes, node_labels
from ._neighbors import agreement


def label_overlap(graph: Data, labels: Tensor | None = None) -> Tensor:
    """Returns the mean share of a node's neighbours that have its label.

        overlap = 1/N Σ_i |{j ∈ N(i) : c_j = c_i}| / |N(i)|

    Neighbours count one each, whatever their similarity; `modularity_terms` has the overlap by edge weight.

    Args:
        graph: A `Data`, or a `Batch` of them. N(i) are the neighbours that i chose (`edge_chosen`), every adjacent node
            in a graph that does not say. Nodes without neighbours are left out.
        labels: Integers `[N]`; `graph.y` if None.

    Returns:
        Float64 in [0, 1], `[]` or `[B]`; NaN if no node has a neighbour. Labels without any relation to the features
        give about 1/C for C balanced classes.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If edges or labels are missing, or labels negative or of another length.

    Example:
        >>> import torch
        >>> from graphmod import knn_graph
        >>> float(label_overlap(knn_graph(torch.eye(4) + 0.1, k=3), torch.tensor([0, 0, 1, 1])))
        0.3333333333333333

    Reference:
        Doimo et al., "Hierarchical nucleation in deep neural networks", NeurIPS 2020, section 2.
    """
    labels = node_labels(graph, labels)
    return mean_over_nodes(graph, agreement(graph, labels))
