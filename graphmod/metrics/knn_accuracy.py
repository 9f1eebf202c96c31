"""k-nearest-neighbour accuracy: how often a sample's neighbours guess its class."""

from torch import Tensor
from torch_geometric.data import Data

from ._inputs import mean_over_nodes, node_labels
from ._neighbors import vote


def knn_accuracy(graph: Data, labels: Tensor | None = None) -> Tensor:
    """Returns the leave-one-out accuracy of the nearest-neighbour classifier.

    A node is given the most frequent label among its neighbours, itself left out; of labels that are equally frequent
    the one with the larger edge weight wins.

    Args:
        graph: A `Data`, or a `Batch` of them. Neighbours are those that a node chose (`edge_chosen`), every adjacent
            node in a graph that does not say. A node without neighbours is a wrong guess.
        labels: Integers `[N]`; `graph.y` if None.

    Returns:
        Float64 in [0, 1], `[]` or `[B]`.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If edges or labels are missing, or labels negative or of another length.

    Example:
        >>> import torch
        >>> from graphmod import knn_graph
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> float(knn_accuracy(knn_graph(x, k=1), torch.tensor([0, 0, 1, 1])))
        1.0

    Reference:
        Cover and Hart, "Nearest neighbor pattern classification", IEEE Transactions on Information Theory 13, 1967.
    """
    labels = node_labels(graph, labels)
    return mean_over_nodes(graph, (vote(graph, labels) == labels).double())
