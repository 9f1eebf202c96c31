"""What every metric reads of a graph, checked in one place."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import coalesce, remove_self_loops, scatter

from .._tensors import INTEGERS, is_dense

LABELS = INTEGERS | {torch.bool}
WEIGHTS = LABELS | {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def node_labels(graph: Data, labels: Tensor | None, *, compact: bool = True) -> Tensor:
    """Returns the labels of the nodes, int64 `[N]` where the edges are: those given, or `graph.y`.

    With `compact` they are renumbered where that is needed to lie in 0 … N − 1.

    Raises:
        TypeError: If they are not integers.
        ValueError: If there are none, or they are negative or not one for each node.
    """
    num_nodes = check_nodes(graph)
    labels = graph.get("y") if labels is None else labels
    if labels is None:
        raise ValueError("the graph has no labels y; pass labels")
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor of integers; got {type(labels).__name__}")
    if labels.dtype not in LABELS:
        raise TypeError(f"labels must be integers; got {labels.dtype}")
    if not is_dense(labels):
        raise TypeError("labels must be a dense tensor")
    if labels.shape != (num_nodes,):
        raise ValueError(f"labels must have shape [{num_nodes}], one for each node; got {list(labels.shape)}")
    labels = labels.to(graph.edge_index.device).long()
    if len(labels) and labels.min() < 0:
        raise ValueError(f"labels must be at least 0; got {int(labels.min())}: leave unlabelled samples out")
    if compact and len(labels) and labels.max() >= num_nodes:
        labels = labels.unique(return_inverse=True)[1]
    return labels


def count_classes(labels: Tensor) -> int:
    """Returns how many classes labels from 0 on tell apart, some of which may be empty; of no labels it is 1."""
    return int(labels.max()) + 1 if len(labels) else 1


def check_nodes(graph: Data) -> int:
    """Returns the number of nodes of a graph.

    Raises:
        TypeError: If it is no `Data`, or `edge_index` is not int64.
        ValueError: If there is no `edge_index` `[2, E]`, or no telling how many nodes there are.
    """
    if not isinstance(graph, Data):
        raise TypeError(f"a graph must be a torch_geometric Data; got {type(graph).__name__}")
    index = graph.get("edge_index")
    if index is None:
        raise ValueError("the graph has no edge_index; build it with knn_graph, or set it")
    if not isinstance(index, Tensor) or index.dtype != torch.int64:
        raise TypeError(f"edge_index must be int64; got {getattr(index, 'dtype', type(index).__name__)}")
    if not is_dense(index):
        raise TypeError("edge_index must be a dense tensor")
    if index.dim() != 2 or len(index) != 2:
        raise ValueError(f"edge_index must have shape [2, E]; got {list(index.shape)}")
    try:
        num_nodes = graph.num_nodes
    except Exception as error:  # it is guessed from whatever else the graph holds
        raise ValueError(f"the graph must have num_nodes; they cannot be guessed: {error}") from error
    if not isinstance(num_nodes, int) or num_nodes < 0:
        raise ValueError(f"the graph must have num_nodes, an integer of at least 0; got {num_nodes!r}")
    return num_nodes


def check_one_graph(graph: Data) -> int:
    """As `check_nodes`; raises a TypeError also if it is a batch of several graphs."""
    num_nodes = check_nodes(graph)
    if isinstance(graph, Batch):
        raise TypeError(f"expected one graph; got a Batch of {graph.num_graphs}: take them one by one")
    return num_nodes


def check_resolution(resolution: float) -> None:
    """Raises a ValueError unless γ is at least 0 and finite."""
    if not 0 <= resolution < float("inf"):
        raise ValueError(f"resolution must be at least 0; got {resolution}")


def edge_weights(graph: Data) -> Tensor:
    """Returns the weights of the edges, float64 `[E]`; 1 each if the graph has none.

    Raises:
        TypeError: As `check_nodes`; if the weights are not real numbers.
        ValueError: If there are no edges' ends, or they are not nodes of the graph; or if a weight is not finite,
            negative (unless the graph follows a published rule that says so, see `compat`) or not one for each edge.
    """
    num_nodes = check_nodes(graph)
    index, weight = graph.edge_index, graph.get("edge_weight")
    num_edges = index.shape[1]
    if num_edges:
        lowest, highest = index.aminmax()
        if lowest < 0 or highest >= num_nodes:
            outside = int(lowest if lowest < 0 else highest)
            raise ValueError(f"edge_index must hold numbers of {num_nodes} nodes; got {outside}")
    if weight is None:
        return torch.ones(num_edges, dtype=torch.float64, device=index.device)
    if not is_dense(weight) or weight.dtype not in WEIGHTS:
        raise TypeError(f"edge_weight must be a tensor of real numbers; got {getattr(weight, 'dtype', weight)!r:.50}")
    if weight.shape != (num_edges,):
        raise ValueError(f"edge_weight must have shape [{num_edges}], one for each edge; got {list(weight.shape)}")
    weight = weight.double()
    smallest, largest = weight.aminmax() if num_edges else (weight.new_zeros(()), weight.new_zeros(()))
    if not (smallest.isfinite() and largest.isfinite()):
        raise ValueError("edge weights must be finite; got NaN or Inf")
    if "compat" not in graph and smallest < 0:
        raise ValueError("edge weights must be at least 0, modularity is not defined for others; clamp them first")
    return weight


def chosen_edges(graph: Data) -> tuple[Tensor, Tensor]:
    """Returns the edges from a node to each of its neighbours, int64 `[2, K]`, and their weights, float64 `[K]`.

    Those are the edges that `edge_chosen` marks. In a graph that has no such mark they are those to every adjacent
    node, in both directions whichever is listed, none twice; never from a node to itself.
    """
    weight, chosen = edge_weights(graph), graph.get("edge_chosen")
    if chosen is None:
        both = torch.cat([graph.edge_index, graph.edge_index.flip(0)], dim=1)
        return remove_self_loops(*coalesce(both, weight.repeat(2), num_nodes=graph.num_nodes))
    if not is_dense(chosen) or chosen.dtype != torch.bool or chosen.shape != weight.shape:
        raise ValueError(
            f"edge_chosen must be bool [{len(weight)}], one for each edge; del graph.edge_chosen after other edges"
        )
    return graph.edge_index[:, chosen], weight[chosen]


def undirected_edges(graph: Data) -> tuple[Tensor, Tensor, Tensor]:
    """Returns every pair of adjacent nodes once, for one graph read as A = (D + Dᵀ) / 2.

    Returns:
        The nodes i ≤ j, int64 `[P]` both, and the weights, float64 `[P]`: a_ij, for a loop a_ii / 2. So the weights sum
        to W = ½ Σ_ij a_ij.

    Raises:
        TypeError: If the graph is a batch of several.
        ValueError: As `edge_weights`.
    """
    check_one_graph(graph)
    weight, (source, target) = edge_weights(graph), graph.edge_index
    pairs, pair = (source.minimum(target) * graph.num_nodes + source.maximum(target)).unique(return_inverse=True)
    weight = scatter(weight, pair, dim_size=len(pairs)) / 2
    return pairs // graph.num_nodes, pairs % graph.num_nodes, weight


def edge_shares(graph: Data) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns what Q is made of, for one graph read as in `undirected_edges`.

    Returns:
        The pairs of adjacent nodes i ≤ j, int64 `[P]` both; s_i / 2W of each node, `[N]`, and each pair's share of W,
        `[P]`, float64, which sum to 1 both.
    """
    first, second, weight = undirected_edges(graph)
    total = weight.sum()
    strength = scatter(weight.repeat(2), torch.cat([first, second]), dim_size=graph.num_nodes) / (2 * total)
    return first, second, strength, weight / total


def layer_graphs(graphs: Iterable[Data] | Mapping[str, Data], of_one: str) -> list[Data]:
    """Returns the graphs of several layers, of the same samples.

    Args:
        graphs: A dynamic graph, or any graphs in order.
        of_one: What to do with a single graph.

    Raises:
        TypeError: If it is a single graph.
        ValueError: If there is none, or they have other numbers of nodes.
    """
    if isinstance(graphs, Data):
        raise TypeError(f"expected the graphs of several layers; got one graph: {of_one}")
    layers = list(graphs.values() if isinstance(graphs, Mapping) else graphs)
    if not layers:
        raise ValueError("expected the graphs of several layers; got none")
    if len({graph.num_nodes for graph in layers}) > 1:
        raise ValueError(f"the graphs must have the same nodes; got {[graph.num_nodes for graph in layers]} nodes")
    return layers


def graph_of_node(graph: Data) -> tuple[Tensor, int]:
    """Returns the number of each node's graph, int64 `[N]`, and how many graphs there are."""
    if isinstance(graph, Batch):
        return graph.batch, graph.num_graphs
    return torch.zeros(graph.num_nodes, dtype=torch.int64, device=graph.edge_index.device), 1


def mean_over_nodes(graph: Data, values: Tensor) -> Tensor:
    """Returns the mean of `values` `[N]` over the nodes that have one (not NaN), float64 `[]`, or `[B]` of a batch."""
    node_graph, num_graphs = graph_of_node(graph)
    there = ~values.isnan()
    total = scatter(values.double().nan_to_num(), node_graph, dim_size=num_graphs)
    mean = total / scatter(there.double(), node_graph, dim_size=num_graphs)
    return mean if isinstance(graph, Batch) else mean.squeeze(0)


def over_features(graph: Data, labels: Tensor | None, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Applies a function of features, float64 `[N, D]`, and labels `[N]` to a graph, or to each of a batch.

    Raises:
        ValueError: If the graph has no features, or they hold NaN or Inf; as `node_labels`.
    """
    num_nodes = check_nodes(graph)
    x = graph.get("x")
    if x is None:
        raise ValueError("the graph has no features x; build it with keep_x=True")
    if not is_dense(x) or x.dtype not in WEIGHTS or x.shape[:1] != (num_nodes,):
        raise ValueError(f"the features x must be a dense tensor of {num_nodes} rows of numbers")
    if not x.numel():
        raise ValueError(f"the features x must hold at least one number; got {list(x.shape)}")
    if not x.isfinite().all():
        raise ValueError("the features x hold NaN or Inf")
    labels, x = node_labels(graph, labels), x.detach().reshape(len(x), -1).double()
    if not isinstance(graph, Batch):
        return function(x, labels)
    parts = zip(x.split(graph.ptr.diff().tolist()), labels.split(graph.ptr.diff().tolist()), strict=True)
    return torch.stack([function(*part) for part in parts])


def class_means(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the means of the classes `[C, D]`, of those classes that have samples, and the row of each sample.

    The mean of a class whose samples are one point is that point, to the last bit.
    """
    row = labels.unique(return_inverse=True)[1]
    first = x[scatter(torch.arange(len(row), device=row.device), row, reduce="min")]
    return first + scatter(x - first[row], row, reduce="mean"), row
