"""Positions in the plane: of a layer's features, and of the graphs of all layers, as they change on the way."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from ._tensors import is_plain, kind, unit_rows
from .metrics._inputs import layer_graphs, undirected_edges

Method = Literal["tsne", "pca"]
WIDTH = 50
"""Features that t-SNE is given: the first principal components."""
GRAVITY = 2.5
"""Pull of a layout to the middle, which keeps unconnected parts in the picture; without edges, samples fill a disc of
radius GRAVITY ** -0.5."""


def embed(
    x: Tensor, *, method: Method = "tsne", seed: int = 0, perplexity: float = 30.0, like: Tensor | None = None
) -> Tensor:
    """Puts samples in the plane so that those which a layer holds alike stand together.

    t-SNE looks at the directions of the features only, as the cosine graphs do: it is given the first 50 principal
    components of rows of length 1, and starts from the first two of them. PCA draws the features as they are.

    Args:
        x: Features `[N, D]` of a floating type, N at least 4.
        method: `"tsne"` or `"pca"`.
        seed: Seed of t-SNE.
        perplexity: Neighbours that a sample of t-SNE is aware of, at least 1; no more than (N − 1) / 3 are taken.
        like: Positions `[N, 2]` of the same samples; the picture is turned and mirrored to be as near them as can be,
            which changes no distance in it.

    Returns:
        Positions, float64 `[N, 2]` on the CPU, around 0; PCA's are its scores, the largest of each component positive.

    Raises:
        TypeError: If `x` is not a floating tensor.
        ValueError: If `x` is not `[N, D]`, holds NaN or Inf, or is the same for every sample; if there are fewer than 4
            samples; if the method is unknown, the perplexity below 1, or `like` not `[N, 2]`.

    Example:
        >>> embed(torch.tensor([[0.0, -1.0], [0.0, 3.0], [0.0, -1.0], [0.0, -1.0]]), method="pca")[:, 0].round()
        tensor([-1.,  3., -1., -1.], dtype=torch.float64)

    Reference:
        van der Maaten and Hinton, "Visualizing Data using t-SNE", Journal of Machine Learning Research 9, 2008; the
        start from principal components: Kobak and Berens, Nature Communications 10, 2019.
    """
    _check(x, method, perplexity, like)
    x = x.detach().cpu().double()
    if method == "tsne":
        x = unit_rows(x)
    if (x - x[0]).abs().max() <= 1e-12 * x.abs().max():
        raise ValueError(f"x has all {len(x)} samples at one point, as {method} sees them; there is nothing to draw")
    scores = _principal(x)
    positions = torch.nn.functional.pad(scores[:, :2], (0, 2 - min(scores.shape[1], 2)))
    if method == "tsne":
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        start = 1e-4 * positions / positions[:, 0].std()
        found = TSNE(perplexity=min(perplexity, (len(x) - 1) / 3), init=start.numpy(), random_state=seed)
        with threadpool_limits(1):  # on a busy machine its threads wait for one another a hundred times as long
            positions = torch.from_numpy(found.fit_transform(scores[:, :WIDTH].numpy())).double()
        positions = positions - positions.mean(dim=0)
    if like is not None:
        target = like.detach().cpu().double()
        left, _, right = torch.linalg.svd(positions.T @ (target - target.mean(dim=0)))
        positions = positions @ left @ right
    return positions


def layer_positions(
    graphs: Mapping[str, Data], *, inertia: float = 0.5, seed: int = 0, iterations: int = 200
) -> Tensor:
    """Lays out the graphs of all layers, so that a sample moves from layer to layer only where its neighbours change.

    Edges pull and all samples push one another apart (Fruchterman and Reingold). The layout begins with all graphs laid
    over one another; each layer goes on from the one before. There, a sample's steps are shortened by
    change ** inertia, where change is the share of its neighbours in either layer that are not its neighbours in both:
    one whose neighbours stay does not move.

    Args:
        graphs: The layers' graphs over the same samples, in order, such as a `DynamicGraph`.
        inertia: How much a sample keeps its place, at least 0; with 0 it follows any change of its neighbours freely.
        seed: Seed of the first positions.
        iterations: Steps of each layer; five times as many for the beginning.

    Returns:
        Positions, float64 `[L, N, 2]` on the CPU, in the unit square, one scale for all layers.

    Raises:
        ValueError: If there are no graphs, their numbers of nodes differ or are below 2, or an edge weight is not
            finite; if the inertia is negative, or there are no iterations.

    Example:
        >>> pair = Data(edge_index=torch.tensor([[0], [1]]), num_nodes=3)
        >>> first, second = layer_positions({"conv1": pair, "conv2": pair})
        >>> torch.equal(first, second), torch.dist(first[0], first[1]) < torch.dist(first[0], first[2])
        (True, tensor(True))

    Reference:
        Fruchterman and Reingold, "Graph drawing by force-directed placement", Software: Practice and Experience 21,
        1991; the start from all layers: Diehl and Görg, "Graphs, they are changing", Graph Drawing 2002.
    """
    if not 0 <= inertia < float("inf") or iterations < 1:
        raise ValueError(f"expected inertia of at least 0 and iterations of at least 1; got {inertia} and {iterations}")
    matrices = _matrices(graphs)
    positions = torch.rand(len(matrices[0]), 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    everywhere = torch.ones(len(positions), dtype=torch.float64)
    positions = _pull(positions - 0.5, matrices.mean(dim=0), everywhere, 5 * iterations)

    layers, before = [], None
    for matrix in matrices:
        now = matrix > 0
        change = everywhere
        if before is not None:
            kept, either = (now & before).sum(dim=1), (now | before).sum(dim=1)
            change = 1 - kept / either.clamp(min=1)
            change[either == 0] = 0
        mobility = torch.where(change > 0, change**inertia, 0)
        positions = _pull(positions, matrix, mobility, iterations)
        layers.append(positions)
        before = now
    found = torch.stack(layers)
    low, high = found.amin(dim=(0, 1)), found.amax(dim=(0, 1))
    return 0.5 + (found - (low + high) / 2) / (high - low).max()


def _check(x: Tensor, method: str, perplexity: float, like: Tensor | None) -> None:
    if not is_plain(x):
        raise TypeError(f"x must be a tensor of floating type; got {kind(x)}")
    if x.dim() != 2 or not x.shape[1]:
        raise ValueError(f"x must have shape [N, D]; got {list(x.shape)}: flatten it first")
    if len(x) < 4:
        raise ValueError(f"x must hold at least 4 samples; got {len(x)}")
    if not x.isfinite().all():
        raise ValueError("x holds NaN or Inf; look for the sample that makes them")
    if method not in get_args(Method):
        raise ValueError(f"method must be 'tsne' or 'pca'; got {method!r}")
    if not perplexity >= 1:
        raise ValueError(f"perplexity must be at least 1; got {perplexity}")
    if like is not None and like.shape != (len(x), 2):
        raise ValueError(f"like must have shape [{len(x)}, 2], a place for each sample; got {list(like.shape)}")


def _principal(x: Tensor) -> Tensor:
    """Returns the scores of all principal components, the largest in size of each positive."""
    unit = x.abs().max()  # so that no square over- or underflows
    x = x / unit - (x / unit).mean(dim=0)
    if x.shape[1] > len(x):  # through the inner products [N, N]: 25 times as fast for 300 samples of 16,384 features
        square, directions = torch.linalg.eigh(x @ x.T)
        scores = (directions * square.clamp(min=0).sqrt()).flip(1)
    else:
        directions, size, _ = torch.linalg.svd(x, full_matrices=False)
        scores = directions * size
    largest = scores.gather(0, scores.abs().argmax(dim=0, keepdim=True))
    return unit * torch.where(largest < 0, -scores, scores)


def _matrices(graphs: Mapping[str, Data]) -> Tensor:
    """Returns A = (D + Dᵀ) / 2 of each layer without its diagonal, float64 `[L, N, N]`, its mean weight 1."""
    matrices = []
    for graph in layer_graphs(graphs, "pass the dynamic graph"):
        if graph.num_nodes < 2:
            raise ValueError(f"a layout needs graphs of at least 2 nodes; got {graph.num_nodes}")
        i, j, weight = (one.cpu() for one in undirected_edges(graph))
        matrix = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
        matrix[i, j] = matrix[j, i] = weight.clamp(min=0)
        matrix.fill_diagonal_(0)
        matrices.append(matrix / matrix[matrix > 0].mean() if matrix.any() else matrix)
    return torch.stack(matrices)


def _pull(positions: Tensor, matrix: Tensor, mobility: Tensor, iterations: int) -> Tensor:
    """Moves the samples along the forces on them, by steps that shrink from a tenth of the picture to nothing.

    Args:
        positions: `[N, 2]`, around 0, in a square of side 1 or so.
        matrix: Edge weights `[N, N]`, symmetric, zero on the diagonal.
        mobility: What each sample's steps are multiplied with, `[N]`.
        iterations: Number of steps.
    """
    length = len(positions) ** -0.5  # an edge's, where pull and push of two alone are equal
    for step in torch.linspace(0.1, 0, iterations + 1, dtype=torch.float64)[:-1]:
        apart = positions[:, None] - positions
        distance = apart.norm(dim=2).clamp(min=1e-3 * length)
        strength = length**2 / distance**2 - matrix * distance / length
        force = (apart * strength[:, :, None]).sum(dim=1) - GRAVITY * positions
        size = force.norm(dim=1, keepdim=True).clamp(min=1e-12)
        positions = positions + force / size * size.minimum(step) * mobility[:, None]
    return positions
