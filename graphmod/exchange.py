"""The same graph in networkx and igraph, and back: nodes in order, float32 weights and labels to the last digit."""

from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from .graphs._build import make_graph
from .metrics._inputs import chosen_edges, undirected_edges

if TYPE_CHECKING:
    import igraph
    import networkx

CHOSE = ("lower_chose", "upper_chose")


def to_networkx(graph: Data) -> "networkx.Graph":
    """Makes a networkx graph, for its algorithms and drawings.

    Args:
        graph: Undirected, as those of graphmod.

    Returns:
        Nodes 0 … N − 1 with the label as `y` where there are labels; each edge once, with its `weight`, and, where the
        graph knows, who chose whom: `lower_chose` says that the node of the lower number has the other among its
        neighbours, `upper_chose` the reverse; the number is the node attribute `sample`, whatever is done to the order
        of the nodes. `layer` and `compat` are attributes of the graph. Features are left out.

    Example:
        >>> from graphmod import knn_graph
        >>> peer = to_networkx(knn_graph(torch.eye(4), k=1, y=torch.tensor([0, 0, 1, 1])))
        >>> peer.number_of_edges(), peer.nodes[3]["y"], sorted(peer.edges[0, 1])
        (3, 1, ['lower_chose', 'upper_chose', 'weight'])
    """
    import networkx

    source, target, attributes = _edges(graph)
    peer = networkx.Graph(**_whole(graph))
    peer.add_nodes_from(range(graph.num_nodes))
    for name, values in _nodes(graph).items():
        networkx.set_node_attributes(peer, dict(enumerate(values)), name)
    rows = zip(*attributes.values(), strict=True)
    peer.add_edges_from(
        (i, j, dict(zip(attributes, row, strict=True))) for i, j, row in zip(source, target, rows, strict=True)
    )
    return peer


def from_networkx(peer: "networkx.Graph") -> Data:
    """Makes a `Data` of what `to_networkx` made, or of any undirected networkx graph.

    Args:
        peer: Nodes are numbered in its order. Edge attribute `weight`, 1 if no edge has it; node attribute `y`, left
            out if no node has it.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If the graph is directed or has loops or several edges between two nodes, or some have an attribute
            and others not.

    Example:
        >>> import networkx
        >>> from graphmod import modularity
        >>> club = from_networkx(networkx.karate_club_graph())
        >>> club.num_nodes, club.edge_index.shape[1]
        (34, 156)
    """
    if peer.is_directed() or peer.is_multigraph():
        raise ValueError(
            f"the graph must be undirected, with single edges; got {type(peer).__name__}: networkx.Graph(it)"
        )
    number = {node: i for i, node in enumerate(peer)}
    pairs = [(number[i], number[j]) for i, j in peer.edges]
    return _data(pairs, list(peer.edges.values()), list(peer.nodes.values()), len(number), dict(peer.graph))


def to_igraph(graph: Data) -> "igraph.Graph":
    """Makes an igraph graph with the attributes that `to_networkx` describes.

    Args:
        graph: Undirected, as those of graphmod.

    Example:
        >>> from graphmod import knn_graph
        >>> peer = to_igraph(knn_graph(torch.eye(4), k=1, y=torch.tensor([0, 0, 1, 1])))
        >>> peer.ecount(), peer.vs["y"], peer.es.attributes()
        (3, [0, 0, 1, 1], ['weight', 'lower_chose', 'upper_chose'])
    """
    import igraph

    source, target, attributes = _edges(graph)
    pairs, nodes = zip(source, target, strict=True), _nodes(graph)
    return igraph.Graph(graph.num_nodes, pairs, graph_attrs=_whole(graph), vertex_attrs=nodes, edge_attrs=attributes)


def from_igraph(peer: "igraph.Graph") -> Data:
    """Makes a `Data` of what `to_igraph` made, or of any undirected igraph graph.

    Args:
        peer: As `from_networkx` says.

    Raises:
        ValueError: As `from_networkx`.

    Example:
        >>> import igraph
        >>> from_igraph(igraph.Graph.Famous("Zachary")).edge_weight.sum().item()
        156.0
    """
    if peer.is_directed() or not peer.is_simple():
        raise ValueError("the graph must be undirected, with single edges and no loops: as_undirected(), simplify()")
    edges, nodes = [edge.attributes() for edge in peer.es], [node.attributes() for node in peer.vs]
    whole = {name: peer[name] for name in peer.attributes()}
    return _data(peer.get_edgelist(), edges, nodes, peer.vcount(), whole)


def _edges(graph: Data) -> tuple[list[int], list[int], dict[str, list[Any]]]:
    """Each pair once, and what an edge holds."""
    first, second, weight = undirected_edges(graph)
    held = {"weight": weight.tolist()}
    if "edge_chosen" in graph:
        (source, target), _ = chosen_edges(graph)
        chosen = source * graph.num_nodes + target
        for name, i, j in zip(CHOSE, (first, second), (second, first), strict=True):
            held[name] = torch.isin(i * graph.num_nodes + j, chosen).tolist()
    return first.tolist(), second.tolist(), held


def _nodes(graph: Data) -> dict[str, list[int]]:
    """What the nodes hold."""
    held = {} if graph.y is None else {"y": graph.y.tolist()}
    if "edge_chosen" in graph:
        held["sample"] = list(range(int(graph.num_nodes)))
    return held


def _whole(graph: Data) -> dict[str, str]:
    return {name: graph[name] for name in ("layer", "compat") if name in graph}


def _data(
    pairs: list[tuple[int, int]], edges: list[Any], nodes: list[Any], num_nodes: int, whole: dict[str, Any]
) -> Data:
    """A `Data` of each pair once and the attributes of edges and nodes."""
    weight = torch.tensor(_column(edges, "weight") or [1.0] * len(pairs), dtype=torch.float32)
    labels, chose = _column(nodes, "y"), [_column(edges, name) for name in CHOSE]
    if labels is not None and (other := [one for one in labels if not _is_whole(one)]):
        raise TypeError(f"labels must be integers; got {type(other[0]).__name__}")
    source, target = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    both = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    order = (both[0] * num_nodes + both[1]).argsort()
    if (source == target).any():
        raise ValueError(f"the graph must have no loops; node {int(source[source == target][0])} has one")
    chosen: Tensor | None = None
    if chose[0] is not None and chose[1] is not None:
        sample = _column(nodes, "sample") or range(num_nodes)
        number = torch.tensor(sample if len(set(sample)) == num_nodes else range(num_nodes), dtype=torch.float64)
        up = number[source] < number[target]
        here, there = (torch.tensor(one, dtype=torch.bool) for one in chose)
        chosen = torch.cat([torch.where(up, here, there), torch.where(up, there, here)])[order]
    return make_graph(
        both[:, order], weight.repeat(2)[order], num_nodes, edge_chosen=chosen,
        y=None if labels is None else torch.tensor(list(map(int, labels)), dtype=torch.int64),
        layer=whole.get("layer"), compat=whole.get("compat"),
    )  # fmt: skip


def _is_whole(label: Any) -> bool:
    """Whether a label is an integer, also one that a file of igraph gives back as a float."""
    return isinstance(label, Integral) or (isinstance(label, float) and label.is_integer())


def _column(rows: list[Any], name: str) -> list[Any] | None:
    """An attribute that all rows have, or None if none has it."""
    found = [row[name] for row in rows if row.get(name) is not None]
    if found and len(found) < len(rows):
        raise ValueError(
            f"{len(rows) - len(found)} of {len(rows)} nodes or edges have no attribute {name!r}; give all one"
        )
    return found or None
