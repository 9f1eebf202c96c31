"""Positions in the plane, against scikit-learn and on planted clusters, and the pictures of them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch_geometric.data import Data

from graphmod import knn_graph
from graphmod.embeddings import embed, layer_positions
from graphmod.plots.embedding import plot_embedding
from graphmod.plots.graph_strip import plot_graph_strip


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


# --- features in the plane ---


@pytest.mark.parametrize("shape", [(40, 7), (20, 300), (30, 30)])
def test_pca_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3
    found, expected = embed(x, method="pca"), PCA(2, svd_solver="full").fit_transform(x.numpy())
    signs = np.sign((found.numpy() * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-9)
    assert (found.amax(dim=0) > -found.amin(dim=0)).all(), "the largest of each component is positive"


def test_pca_of_one_direction_lies_on_a_line() -> None:
    assert embed(torch.arange(5.0)[:, None], method="pca")[:, 1].tolist() == [0] * 5


@pytest.mark.parametrize("width", [1, 400])
def test_tsne_separates_planted_clusters_and_repeats(clusters: tuple[Tensor, Tensor], width: int) -> None:
    x, labels = clusters
    x = x.repeat(1, width)
    found = embed(x, perplexity=10)
    assert (found.dtype, found.shape) == (torch.float64, (60, 2))
    nearest = KNeighborsClassifier(3).fit(found[:30].numpy(), labels[:30].numpy())
    assert nearest.score(found[30:].numpy(), labels[30:].numpy()) == 1
    assert torch.equal(embed(x, perplexity=10), found)


def test_tsne_sees_directions_only(clusters: tuple[Tensor, Tensor]) -> None:
    x = clusters[0].double()
    scaled = x * 2.0 ** torch.arange(60).remainder(5)[:, None]
    torch.testing.assert_close(embed(scaled), embed(x))


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_features_of_any_size_give_the_same_picture(method: str) -> None:
    x = torch.randn(30, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, other = (embed(scale * x, method=method) for scale in (1.0, 2.0**-560))
    torch.testing.assert_close(one / one.abs().max(), other / other.abs().max())


def test_perplexity_is_cut_to_a_third_of_the_others(clusters: tuple[Tensor, Tensor]) -> None:
    x = clusters[0]
    assert torch.equal(embed(x[:31], perplexity=10), embed(x[:31], perplexity=500))
    assert not torch.equal(embed(x[:31], perplexity=5), embed(x[:31], perplexity=10))
    assert embed(x[:4]).isfinite().all()


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_picture_turned_to_another_keeps_its_distances(method: str, clusters: tuple[Tensor, Tensor]) -> None:
    plain = embed(clusters[0], method=method)
    mirror = torch.tensor([[0.6, 0.8], [0.8, -0.6]], dtype=torch.float64)
    turned = embed(clusters[0], method=method, like=plain @ mirror + 5)
    torch.testing.assert_close(turned, (plain - plain.mean(dim=0)) @ mirror, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(plain, plain), atol=1e-6, rtol=1e-6)


def test_arguments_are_not_changed(clusters: tuple[Tensor, Tensor]) -> None:
    x = clusters[0].clone()
    embed(x)
    assert torch.equal(x, clusters[0])


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (torch.arange(8).view(4, 2), {}, TypeError, "x must be a tensor of floating type; got torch.int64"),
        ([[1.0]], {}, TypeError, "x must be a tensor of floating type; got list"),
        (torch.eye(4).to_sparse(), {}, TypeError, "x must be a tensor of floating type; got torch.float32, not dense"),
        (torch.rand(4, 2, 2), {}, ValueError, r"x must have shape \[N, D\]; got \[4, 2, 2\]: flatten it first"),
        (torch.rand(4, 0), {}, ValueError, r"x must have shape \[N, D\]; got \[4, 0\]"),
        (torch.rand(3, 2), {}, ValueError, "x must hold at least 4 samples; got 3"),
        (torch.full((5, 2), torch.nan), {}, ValueError, "x holds NaN or Inf"),
        (torch.ones(5, 2), {}, ValueError, "x has all 5 samples at one point, as tsne sees them"),
        (torch.zeros(5, 2), {}, ValueError, "x has all 5 samples at one point"),
        (torch.ones(5, 2), {"method": "pca"}, ValueError, "x has all 5 samples at one point, as pca sees them"),
        (torch.arange(1.0, 6)[:, None] * torch.ones(3), {}, ValueError, "x has all 5 samples at one point"),
        (torch.rand(5, 2), {"method": "umap"}, ValueError, "method must be 'tsne' or 'pca'; got 'umap'"),
        (torch.rand(5, 2), {"perplexity": 0.5}, ValueError, "perplexity must be at least 1; got 0.5"),
        (torch.rand(5, 2), {"like": torch.rand(4, 2)}, ValueError, r"like must have shape \[5, 2\], a place for each"),
    ],
)
def test_bad_features(x: Tensor, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        embed(x, **options)


# --- graphs in the plane ---


def cliques(*groups: list[int]) -> Data:
    pairs = [(i, j) for group in groups for i in group for j in group if i != j]
    return Data(edge_index=torch.tensor(pairs).T, num_nodes=sum(map(len, groups)))


def moving() -> dict[str, Data]:
    """Two cliques of six; then sample 5 goes over to the second, and then nothing happens."""
    before, after = cliques([*range(6)], [*range(6, 12)]), cliques([*range(5)], [*range(5, 12)])
    return {"a": before, "b": after, "c": after}


def test_cliques_are_closer_inside_than_between() -> None:
    graph = cliques([0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14])
    for place in layer_positions({"a": graph, "b": graph}):
        group = torch.arange(15) // 5
        distance = torch.cdist(place, place)
        same = group[:, None] == group
        assert distance[same].max() < distance[~same].min()


def test_samples_move_only_where_their_neighbours_change() -> None:
    a, b, c = layer_positions(moving())
    assert torch.equal(b, c)
    first, second = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([6, 7, 8, 9, 10, 11])
    assert (a[5] - a[first]).norm(dim=1).mean() < (a[5] - a[second]).norm(dim=1).mean()
    assert (b[5] - b[second]).norm(dim=1).mean() < (b[5] - b[first]).norm(dim=1).mean()
    other = {"a": cliques([0, 1, 2], [3, 4, 5], [6, 7]), "b": cliques([0, 1, 3], [2, 4, 5], [6, 7])}
    moved = (lambda place: (place[1] - place[0]).norm(dim=1))(layer_positions(other))
    assert moved[6:].max() == 0 < moved[[2, 3]].min()


def test_inertia_keeps_places() -> None:
    ways = [float((layer_positions(moving(), inertia=inertia).diff(dim=0)).norm()) for inertia in (0, 1, 4)]
    assert ways[0] > ways[1] > ways[2] > 0


def test_the_layout_fills_the_unit_square_and_repeats() -> None:
    x = torch.randn(3, 50, 8, generator=torch.Generator().manual_seed(0))
    graphs = {str(i): knn_graph(layer, 3) for i, layer in enumerate(x)}
    found = layer_positions(graphs)
    assert (found.dtype, found.shape) == (torch.float64, (3, 50, 2))
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found.amax(dim=(0, 1)) - found.amin(dim=(0, 1))).max() == pytest.approx(1)
    assert torch.equal(layer_positions(graphs), found)
    assert not torch.equal(layer_positions(graphs, seed=1), found)
    for place, graph in zip(found, graphs.values(), strict=True):
        i, j = graph.edge_index
        assert (place[i] - place[j]).norm(dim=1).mean() < torch.pdist(place).mean()


def test_directions_loops_and_the_scale_of_weights_do_not_matter() -> None:
    both = cliques([0, 1, 2], [3, 4, 5])
    one = both.edge_index[:, both.edge_index[0] < both.edge_index[1]]
    loops = Data(edge_index=torch.cat([one, torch.tensor([[0], [0]])], dim=1), edge_weight=torch.full((7,), 3.0))
    loops.num_nodes = 6
    torch.testing.assert_close(layer_positions({"a": loops}), layer_positions({"a": both}))


def test_bad_graphs() -> None:
    pair = Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2)
    with pytest.raises(ValueError, match="expected the graphs of several layers; got none"):
        layer_positions({})
    with pytest.raises(ValueError, match="the graphs must have the same nodes; got"):
        layer_positions({"a": pair, "b": Data(edge_index=pair.edge_index, num_nodes=3)})
    broken = Data(edge_index=pair.edge_index, edge_weight=torch.tensor([torch.nan]), num_nodes=2)
    with pytest.raises(ValueError, match="edge weights must be finite; got NaN or Inf"):
        layer_positions({"a": broken})
    with pytest.raises(ValueError, match="a layout needs graphs of at least 2 nodes; got 1"):
        layer_positions({"a": Data(edge_index=torch.zeros(2, 0, dtype=torch.int64), num_nodes=1)})
    for options in ({"inertia": -1}, {"iterations": 0}):
        with pytest.raises(ValueError, match="expected inertia of at least 0 and iterations of at least 1; got"):
            layer_positions({"a": pair}, **options)


# --- pictures ---


def curve(layers: list[str]) -> pd.DataFrame:
    q = np.linspace(0.1, 0.8, len(layers))
    return pd.DataFrame({"layer": layers, "depth": range(1, len(layers) + 1), "modularity": q, "maximum": 0.9})


def test_embedding_draws_every_sample_once_a_layer() -> None:
    generator = np.random.default_rng(0)
    labels, classes = generator.integers(0, 3, 40), ["cat", "dog", "frog"]
    places = {name: generator.random((40, 2)) for name in ("conv1", "fc")}
    table = curve(["conv1", "conv2", "fc"])
    first = plot_embedding(places, labels, classes, table)
    axes = first.figure.axes
    assert [ax.get_title() for ax in axes[:2]] == ["conv1 (1)\nQ = 0.10", "fc (3)\nQ = 0.80"]
    for ax, place in zip(axes[:2], places.values(), strict=True):
        assert len(ax.collections) == 3
        for c, drawn in enumerate(ax.collections):
            np.testing.assert_allclose(drawn.get_offsets(), place[labels == c])
        colors = [tuple(drawn.get_facecolor()[0][:3]) for drawn in ax.collections]
        assert len(set(colors)) == 3
        assert colors == [tuple(drawn.get_facecolor()[0][:3]) for drawn in first.collections]
    line, _, rings = axes[2].lines
    np.testing.assert_allclose(line.get_ydata(), table.modularity)
    assert list(rings.get_xdata()) == [1, 3]
    assert [text.get_text() for text in first.figure.legends[0].get_texts()] == classes
    assert len(plot_embedding(places, labels, classes).figure.axes) == 2


@pytest.mark.parametrize("num_layers", [1, 3, 5, 8, 12])
def test_embedding_has_a_picture_for_each_layer(num_layers: int) -> None:
    names = [f"layer{i}" for i in range(num_layers)]
    places = {name: np.random.default_rng(0).random((10, 2)) for name in names}
    first = plot_embedding(places, np.arange(10), list("abcdefghij"), curve(names))
    first.figure.canvas.draw()
    assert len(first.figure.axes) == num_layers + 1


def test_strip_colours_the_edges_inside_a_class() -> None:
    places = torch.rand(2, 4, 2, generator=torch.Generator().manual_seed(0))
    edges = [torch.tensor([[0, 1, 1, 2, 3], [1, 0, 2, 1, 3]]), torch.zeros(2, 0, dtype=torch.int64)]
    weights = [torch.tensor([0.5, 1.0, 0.25, 0.25, 9.0]), torch.zeros(0)]
    labels = torch.tensor([0, 0, 1, 1])
    first = plot_graph_strip(places, edges, labels, ["cat", "dog"], ["conv1", "fc"], weights)
    lines, cats, dogs = first.collections
    segments = {
        tuple(map(tuple, np.round(one, 6))): color
        for one, color in zip(lines.get_segments(), lines.get_colors(), strict=True)
    }
    place = [tuple(np.round(one, 6)) for one in places[0].double().numpy()]
    assert set(segments) == {(place[0], place[1]), (place[1], place[2])}, "once each, no loops"
    assert tuple(segments[place[0], place[1]]) == tuple(cats.get_facecolor()[0])
    red, green, blue, _ = segments[place[1], place[2]]
    assert red == green == blue, "grey"
    thin, thick = lines.get_linewidths()
    assert thin < thick
    np.testing.assert_allclose(dogs.get_offsets(), places[0, 2:])
    second = first.figure.axes[1]
    assert second.get_title() == "fc"
    assert not second.collections[0].get_segments()
    assert [text.get_text() for text in first.figure.legends[0].get_texts()] == ["cat", "dog"]


def test_a_strip_of_eight_layers_has_two_rows() -> None:
    first = plot_graph_strip(np.zeros((8, 2, 2)), [[[0], [1]]] * 8, [0, 1], ["a", "b"], list("abcdefgh"))
    assert first.get_gridspec().get_geometry() == (2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": {}}, "expected 1 to 12 layers; got 0: choose some"),
        ({"positions": {str(i): np.zeros((2, 2)) for i in range(13)}}, "expected 1 to 12 layers; got 13"),
        ({"positions": {"a": np.zeros((3, 2))}}, r"positions of 'a' must have shape \[2, 2\]; got \[3, 2\]"),
        ({"labels": [0, 2]}, "labels must be numbers of 2 classes; got 0 to 2"),
        ({"curve": curve(["b"])}, "the curve has no layer 'a'; it has b"),
    ],
)
def test_bad_embedding(change: dict, message: str) -> None:
    given = {"positions": {"a": np.zeros((2, 2))}, "labels": [0, 1], "classes": ["cat", "dog"]}
    with pytest.raises(ValueError, match=message):
        plot_embedding(**(given | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros((1, 3, 2))}, r"positions must have shape \[L, 2, 2\]; got \[1, 3, 2\]"),
        ({"positions": np.full((1, 2, 2), 2)}, "positions must lie in the unit square; got 2 to 2"),
        ({"titles": ["a", "b"]}, "expected edges and titles of 1 layers; got 1 and 2"),
        ({"weights": [[1], [1]]}, "expected weights of 1 layers; got 2"),
        ({"labels": [0, 2]}, "labels must be numbers of 2 classes; got 0 to 2"),
        ({"edges": [[[0, 1]]]}, r"edges of 'a' must have shape \[2, E\]; got \[1, 2\]"),
        ({"edges": [[[0], [2]]]}, "edges of 'a' must be numbers of 2 samples; got one outside"),
        ({"weights": [[-1]]}, "weights of 'a' must be at least 0, one for each of 1 edges"),
        ({"weights": [[1, 1]]}, "weights of 'a' must be at least 0, one for each of 1 edges"),
    ],
)
def test_bad_strip(change: dict, message: str) -> None:
    given = {"positions": np.zeros((1, 2, 2)), "edges": [[[0], [1]]], "labels": [0, 1], "classes": ["a", "b"]}
    with pytest.raises(ValueError, match=message):
        plot_graph_strip(**(given | {"titles": ["a"]} | change))
