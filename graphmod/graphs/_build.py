"""The one door through which every graph of the package comes into being."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import coalesce

from .._tensors import is_dense, is_plain, kind

Symmetrize = Literal["mean", "union", "mutual"]


def neighbor_graph(
    index: Tensor,
    weight: Tensor,
    *,
    symmetrize: Symmetrize = "mean",
    x: Tensor | None = None,
    y: Tensor | None = None,
    layer: str | None = None,
    compat: str | None = None,
) -> Data:
    """Makes an undirected graph of directed neighbours, of which node i has `index[i, j]` with weight `weight[i, j]`.

    With D the matrix of these weights, the graph's matrix A is

    - `"mean"`: A = (D + Dᵀ) / 2, in which a mutual pair weighs twice a one-sided one;
    - `"union"`: the mean of those of D_ij and D_ji that are there;
    - `"mutual"`: the same mean, of the pairs that chose each other only.

    Args:
        index: Neighbours, int64 `[N, k]`, none twice in a row. A node that names itself is no edge.
        weight: Weights, floating `[N, k]`, finite.
        symmetrize: The rule above.
        x: Features `[N, D]`, kept in the graph.
        y: Labels `[N]`, kept in the graph.
        layer: The layer's name, kept in the graph.
        compat: The published rule that the graph follows, kept in the graph; its weights may be negative.

    Returns:
        A `Data` without loops, each pair in both directions, coalesced, with float32 `edge_weight` `[E]`, bool
        `edge_chosen` `[E]` and `num_nodes`; and with `x`, `y`, `layer` where given. `edge_chosen` says of the edge
        (i, j) whether j is one of the neighbours of i: those edges are the directed graph D.

    Raises:
        ValueError: If shapes do not agree, a weight is not finite, or the rule is unknown.

    Example:
        >>> graph = neighbor_graph(torch.tensor([[1], [0], [1]]), torch.ones(3, 1))
        >>> graph.edge_index.tolist(), graph.edge_weight.tolist(), graph.edge_chosen.tolist()
        ([[0, 1, 1, 2], [1, 0, 2, 1]], [1.0, 1.0, 0.5, 0.5], [True, True, False, True])
    """
    num_nodes = len(index)
    if index.dim() != 2 or index.shape != weight.shape:
        raise ValueError(f"index and weight must both be [N, k]; got {list(index.shape)} and {list(weight.shape)}")
    if symmetrize not in get_args(Symmetrize):
        raise ValueError(f"symmetrize must be one of {', '.join(get_args(Symmetrize))}; got {symmetrize!r}")

    source = torch.arange(num_nodes, device=index.device).repeat_interleave(index.shape[1])
    target = index.flatten()
    edge = source != target
    directed = torch.stack([source[edge], target[edge]])
    weight = weight.flatten()[edge].double()
    there, back = torch.ones_like(weight), torch.zeros_like(weight)
    edge_index, (total, chosen, directions) = coalesce(
        torch.cat([directed, directed.flip(0)], dim=1),
        [weight.repeat(2), torch.cat([there, back]), there.repeat(2)],
        num_nodes=num_nodes,
        reduce="sum",
    )
    edge_weight = (total / (2 if symmetrize == "mean" else directions)).float()
    chosen = chosen.bool()
    if symmetrize == "mutual":
        mutual = directions == 2
        edge_index, edge_weight, chosen = edge_index[:, mutual], edge_weight[mutual], chosen[mutual]
    return make_graph(edge_index, edge_weight, num_nodes, edge_chosen=chosen, x=x, y=y, layer=layer, compat=compat)


def make_graph(
    edge_index: Tensor,
    edge_weight: Tensor,
    num_nodes: int,
    *,
    edge_chosen: Tensor | None = None,
    x: Tensor | None = None,
    y: Tensor | None = None,
    layer: str | None = None,
    compat: str | None = None,
) -> Data:
    """Makes a `Data` of edges that are already undirected and coalesced.

    Args:
        edge_index: Int64 `[2, E]`, sorted, each pair in both directions and none twice.
        edge_weight: Floating `[E]`, finite.
        num_nodes: Number of samples N.
        edge_chosen: Bool `[E]`, as `neighbor_graph` describes it.
        x: Features `[N, D]`.
        y: Labels `[N]`.
        layer: The layer's name.
        compat: The published rule that the graph follows.

    Raises:
        TypeError: If weights are not floating, or `x` or `y` is no tensor.
        ValueError: If the edges are not as said, a weight is negative without `compat`, or `x` or `y` does not
            have one row for each node.

    Example:
        >>> make_graph(torch.tensor([[0, 1], [1, 0]]), torch.ones(2), 2, layer="conv1")
        Data(edge_index=[2, 2], edge_weight=[2], num_nodes=2, layer='conv1')
    """
    if edge_index.dtype != torch.int64 or edge_index.shape[:-1] != (2,) or edge_weight.shape != edge_index.shape[1:]:
        raise ValueError(
            f"edge_index must be int64 [2, E] and edge_weight [E]; got {edge_index.dtype} {list(edge_index.shape)} and "
            f"{list(edge_weight.shape)}"
        )
    source, target = edge_index
    if len(source) and not (edge_index.min() >= 0 and edge_index.max() < num_nodes):
        raise ValueError(f"edge_index must hold numbers of {num_nodes} nodes; got one outside")
    key, back = source * num_nodes + target, target * num_nodes + source
    if (key[1:] <= key[:-1]).any() or (source == target).any() or not torch.equal(back.sort().values, key):
        raise ValueError("edges must be sorted, each pair in both directions, none twice, none from a node to itself")
    if not is_plain(edge_weight):
        raise TypeError(f"edge weights must be a tensor of floating type; got {kind(edge_weight)}")
    if not edge_weight.isfinite().all():
        raise ValueError("edge weights must be finite; got NaN or Inf")
    if compat is None and (edge_weight < 0).any():
        raise ValueError("edge weights must be at least 0; got a negative one")
    graph = Data(edge_index=edge_index, edge_weight=edge_weight, num_nodes=num_nodes)
    if edge_chosen is not None:
        if edge_chosen.dtype != torch.bool or edge_chosen.shape != edge_weight.shape:
            raise ValueError(
                f"edge_chosen must be bool [{len(edge_weight)}]; got {edge_chosen.dtype} {list(edge_chosen.shape)}"
            )
        graph.edge_chosen = edge_chosen
    for name, rows in (("x", x), ("y", y)):
        if rows is not None and not is_dense(rows):
            raise TypeError(f"{name} must be a dense tensor; got {kind(rows)}")
        if rows is not None and rows.shape[:1] != (num_nodes,):
            raise ValueError(f"{name} must have one row for each of {num_nodes} samples; got {list(rows.shape)}")
    for name, value in (("x", x), ("y", y), ("layer", layer), ("compat", compat)):
        if value is not None:
            graph[name] = value
    return graph
