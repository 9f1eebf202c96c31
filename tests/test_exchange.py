"""To networkx and igraph and back: every number, every label; and their algorithms agree with ours."""

from pathlib import Path

import igraph
import networkx
import pytest
import torch
from torch_geometric.data import Data

from graphmod import from_igraph, from_networkx, knn_graph, modularity, to_igraph, to_networkx
from graphmod.graphs._build import make_graph
from graphmod.metrics._inputs import chosen_edges

ROADS = {"networkx": (to_networkx, from_networkx), "igraph": (to_igraph, from_igraph)}


def graph(**options: object) -> Data:
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    return knn_graph(x, 3, y=torch.arange(40) % 4, **options)


def same(one: Data, other: Data) -> bool:
    return one.to_dict().keys() == other.to_dict().keys() and all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.to_dict().items()
    )


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("options", [{}, {"layer": "conv1"}, {"compat": "lu2022"}])
def test_there_and_back(road: str, options: dict) -> None:
    there, back = ROADS[road]
    assert same(back(there(graph(**options))), graph(**options))


@pytest.mark.parametrize("road", ROADS)
def test_an_isolated_node_and_no_labels(road: str) -> None:
    there, back = ROADS[road]
    one = make_graph(torch.tensor([[0, 2], [2, 0]]), torch.tensor([0.1, 0.1]), 5)
    assert same(back(there(one)), one)
    empty = make_graph(torch.empty(2, 0, dtype=torch.int64), torch.empty(0), 3)
    assert same(back(there(empty)), empty)


def test_an_edge_that_comes_back_with_its_ends_exchanged() -> None:
    one = to_igraph(graph())
    attributes = {name: one.es[name] for name in one.es.attributes()}
    turned = igraph.Graph(40, [edge[::-1] for edge in one.get_edgelist()], edge_attrs=attributes)
    turned.vs["y"] = one.vs["y"]
    assert same(from_igraph(turned), graph())


def test_their_modularity_is_ours() -> None:
    one = graph()
    classes = [set((one.y == label).nonzero().flatten().tolist()) for label in range(4)]
    assert networkx.community.modularity(to_networkx(one), classes) == pytest.approx(float(modularity(one)), abs=1e-12)
    peer = to_igraph(one)
    assert peer.modularity(peer.vs["y"], weights="weight") == pytest.approx(float(modularity(one)), abs=1e-12)


def test_graphs_of_others() -> None:
    named = networkx.Graph([("b", "a"), ("a", "c")])
    found = from_networkx(named)
    assert found.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert found.edge_weight.tolist() == [1.0] * 4
    assert "y" not in found
    club = networkx.karate_club_graph()
    networkx.set_node_attributes(club, {node: int(club.nodes[node]["club"] == "Officer") for node in club}, "y")
    sides = [{node for node in club if club.nodes[node]["y"] == side} for side in (0, 1)]
    assert float(modularity(from_networkx(club))) == pytest.approx(networkx.community.modularity(club, sides), abs=1e-9)


def test_what_is_no_simple_graph() -> None:
    for wrong in (networkx.DiGraph([(0, 1)]), networkx.MultiGraph([(0, 1), (0, 1)])):
        with pytest.raises(ValueError, match=r"must be undirected, with single edges; got \w+Graph: networkx.Graph"):
            from_networkx(wrong)
    with pytest.raises(ValueError, match="the graph must have no loops; node 1 has one"):
        from_networkx(networkx.Graph([(0, 1), (1, 1)]))
    for wrong in (igraph.Graph([(0, 1)], directed=True), igraph.Graph([(0, 1), (1, 0)]), igraph.Graph([(0, 0)])):
        with pytest.raises(ValueError, match=r"with single edges and no loops: as_undirected\(\), simplify\(\)"):
            from_igraph(wrong)
    half = networkx.Graph([(0, 1), (1, 2)])
    half.edges[0, 1]["weight"] = 0.5
    with pytest.raises(ValueError, match="1 of 2 nodes or edges have no attribute 'weight'; give all one"):
        from_networkx(half)


@pytest.mark.parametrize("road", ROADS)
def test_edges_in_any_order_and_without_weights(road: str) -> None:
    there, back = ROADS[road]
    one = graph()
    assert same(back(there(one.clone().sort(sort_by_row=False))), one)
    bare = one.clone()
    del bare["edge_weight"]
    found = back(there(bare))
    assert torch.equal(found.edge_chosen, one.edge_chosen)
    assert found.edge_weight.unique().tolist() == [1]


@pytest.mark.parametrize(("label", "kind"), [(0.7, "float"), ("cat", "str")])
def test_labels_that_are_no_integers(label: object, kind: str) -> None:
    peer = networkx.path_graph(3)
    networkx.set_node_attributes(peer, {0: 0, 1: label, 2: 1}, "y")
    with pytest.raises(TypeError, match=f"labels must be integers; got {kind}"):
        from_networkx(peer)


def test_the_order_of_nodes_does_not_matter() -> None:
    graph = knn_graph(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), 2, y=torch.arange(20) % 2)
    turned = from_igraph(to_igraph(graph).permute_vertices(list(range(19, -1, -1))))
    assert torch.equal(turned.y, graph.y.flip(0))
    expected = sorted(chosen_edges(graph)[0].T.tolist())
    for other in (turned, from_networkx(reordered(to_networkx(graph)))):
        assert sorted((19 - chosen_edges(other)[0]).T.tolist()) == expected


def reordered(peer: networkx.Graph) -> networkx.Graph:
    found = networkx.Graph(**peer.graph)
    found.add_nodes_from(list(peer.nodes(data=True))[::-1])
    found.add_edges_from(peer.edges(data=True))
    return found


def test_labels_of_a_file_of_igraph(tmp_path: Path) -> None:
    graph = knn_graph(torch.randn(9, 3), 2, y=torch.arange(9) % 2)
    to_igraph(graph).write_graphml(str(tmp_path / "a.graphml"))
    again = from_igraph(igraph.Graph.Read_GraphML(str(tmp_path / "a.graphml")))
    assert torch.equal(again.y, graph.y)
    assert torch.equal(again.edge_chosen, graph.edge_chosen)
