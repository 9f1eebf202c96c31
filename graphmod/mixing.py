"""Where the classes mix: the terms of modularity by class, by pair of classes and by sample, all summing to Q."""

from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from .metrics._inputs import check_resolution, node_labels, undirected_edges
from .metrics._neighbors import agreement, vote


class Mixing(NamedTuple):
    """How much edge weight joins each pair of classes, and how much chance would put there.

    Attributes:
        classes: The labels that occur, int64 `[C]`, rising; the rows and columns of the matrices.
        observed: e_cd, the share of the weight between c and d (2 W in all), float64 `[C, C]`, symmetric, sum 1.
        expected: γ a_c a_d, with a_c = Σ_d e_cd the share of class c, float64 `[C, C]`; sum γ.
    """

    classes: Tensor
    observed: Tensor
    expected: Tensor

    @property
    def ratio(self) -> Tensor:
        """Observed / expected `[C, C]`: 1 by chance, more where classes meet; NaN for a class without edges."""
        return self.observed / self.expected

    @property
    def by_class(self) -> Tensor:
        """Q_c = e_cc − γ a_c² of each class, float64 `[C]`; their sum is Q."""
        return self.observed.diagonal() - self.expected.diagonal()


def class_mixing(graph: Data, labels: Tensor | None = None, *, resolution: float = 1.0) -> Mixing:
    """Returns the mixing matrix of the classes, beside what chance would give.

    Args:
        graph: One `Data`, read as in `modularity`.
        labels: Integers `[N]`; `graph.y` if None.
        resolution: γ.

    Returns:
        `Mixing(classes, observed, expected)`; the matrices are NaN if the graph has no edge weight.

    Raises:
        TypeError: If labels are not integers, or the graph is a batch.
        ValueError: As `modularity`.

    Example:
        >>> path = Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4)
        >>> mixing = class_mixing(path, torch.tensor([0, 0, 1, 1]))
        >>> mixing.observed
        tensor([[0.3333, 0.1667],
                [0.1667, 0.3333]], dtype=torch.float64)
        >>> round(float(mixing.by_class.sum()), 6)
        0.166667

    Reference:
        Newman, "Mixing patterns in networks", Physical Review E 67, 2003, section II.
    """
    check_resolution(resolution)
    classes, row = node_labels(graph, labels, compact=False).unique(return_inverse=True)
    num_classes = len(classes)
    first, second, weight = undirected_edges(graph)
    half = scatter(weight, row[first] * num_classes + row[second], dim_size=num_classes**2)
    half = half.view(num_classes, num_classes)
    observed = (half + half.T) / (2 * weight.sum())
    strength = observed.sum(dim=1)
    return Mixing(classes, observed, resolution * strength[:, None] * strength)


def sample_modularity(graph: Data, labels: Tensor | None = None, *, resolution: float = 1.0) -> Tensor:
    """Returns what each sample contributes to Q.

        q_i = 1/2W Σ_j (a_ij − γ s_i s_j / 2W) δ(c_i, c_j)

    A negative contribution is that of a sample which sits among other classes.

    Args:
        graph: One `Data`, read as in `modularity`.
        labels: Integers `[N]`; `graph.y` if None.
        resolution: γ.

    Returns:
        Float64 `[N]`, whose sum is Q; NaN throughout if the graph has no edge weight.

    Raises:
        TypeError: If labels are not integers, or the graph is a batch.
        ValueError: As `modularity`.

    Example:
        >>> path = Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4)
        >>> sample_modularity(path, torch.tensor([0, 0, 1, 1]))
        tensor([0.0833, 0.0000, 0.0000, 0.0833], dtype=torch.float64)
    """
    check_resolution(resolution)
    labels = node_labels(graph, labels)
    first, second, weight = undirected_edges(graph)
    kept = torch.where(labels[first] == labels[second], weight, 0.0)
    ends, total = torch.cat([first, second]), 2 * weight.sum()
    inside, strength = (scatter(w.repeat(2), ends, dim_size=len(labels)) / total for w in (kept, weight))
    return inside - resolution * strength * scatter(strength, labels)[labels]


def worst_samples(
    graph: Data, labels: Tensor | None = None, *, num_samples: int = 20, resolution: float = 1.0
) -> pd.DataFrame:
    """Lists the samples that contribute least to Q, and the company that they keep.

    They are those that the layer has put among another class: hard samples, and wrong labels.

    Args:
        graph: One `Data`, read as in `modularity`.
        labels: Integers `[N]`; `graph.y` if None.
        num_samples: How many, at most.
        resolution: γ.

    Returns:
        One row a sample, the worst first: `sample` (its row), `label`, `contribution` (see `sample_modularity`),
        `agreement` (the share of its neighbours that have its label) and `neighbors` (the most frequent label among
        them, −1 if it has none).

    Raises:
        TypeError: If labels are not integers, or the graph is a batch.
        ValueError: As `modularity`.

    Example:
        >>> pairs = torch.tensor([[0, 0, 1, 3, 3, 4], [1, 2, 2, 4, 5, 5]])
        >>> worst_samples(Data(edge_index=pairs, num_nodes=6), torch.tensor([0, 0, 0, 1, 1, 0]), num_samples=1)
           sample  label  contribution  agreement  neighbors
        0       5      0     -0.111111        0.0          1
    """
    if num_samples < 0:
        raise ValueError(f"num_samples must be at least 0; got {num_samples}")
    labels = node_labels(graph, labels, compact=False)
    contribution = sample_modularity(graph, labels, resolution=resolution)
    worst = contribution.argsort(stable=True)[:num_samples]
    columns = {
        "sample": worst,
        "label": labels[worst],
        "contribution": contribution[worst],
        "agreement": agreement(graph, labels)[worst],
        "neighbors": vote(graph, labels)[worst],
    }
    return pd.DataFrame({name: values.detach().cpu().numpy() for name, values in columns.items()})


def class_communities(found: Tensor, labels: Tensor, *, coverage: float = 0.9, shared: float = 0.2) -> pd.DataFrame:
    """Lists where the samples of each class went: into how many communities, and with which other classes.

    Args:
        found: Community of each sample, integers `[N]`.
        labels: Class of each sample, integers `[N]`.
        coverage: The share of a class that `num_communities` is to hold, in (0, 1].
        shared: Two classes share a community if at least so large a part of each is in it, in (0, 1].

    Returns:
        One row a class: `label`, `num_samples`, `num_communities` (the fewest that hold `coverage` of the class),
        `largest_community` (its number), `largest_share` (how much of the class is in that one) and `shared_with` (the
        classes that share a community with this one, such as `"3 5"`).

    Raises:
        TypeError: If one of the two is no tensor.
        ValueError: If the two are not of one length, or a share is not in (0, 1].

    Example:
        >>> class_communities(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1])).shared_with.tolist()
        ['1', '0']
    """
    if not isinstance(found, Tensor) or not isinstance(labels, Tensor):
        raise TypeError(f"found and labels must be tensors; got {type(found).__name__} and {type(labels).__name__}")
    if found.dim() != 1 or found.shape != labels.shape:
        raise ValueError(f"found and labels must be [N] both; got {list(found.shape)} and {list(labels.shape)}")
    if not (0 < coverage <= 1 and 0 < shared <= 1):
        raise ValueError(f"coverage and shared must be in (0, 1]; got {coverage} and {shared}")
    classes, row = labels.cpu().unique(return_inverse=True)
    communities, column = found.cpu().unique(return_inverse=True)
    shape = len(classes), len(communities)
    counts = (row * shape[1] + column).bincount(minlength=shape[0] * shape[1]).view(shape).double()
    shares = counts / counts.sum(dim=1, keepdim=True)
    largest, place = shares.max(dim=1)
    covered = shares.sort(dim=1, descending=True).values.cumsum(dim=1)
    inside = (shares >= shared).double()
    together = (inside @ inside.T).fill_diagonal_(0) > 0
    return pd.DataFrame(
        {
            "label": classes.numpy(),
            "num_samples": counts.sum(dim=1).long().numpy(),
            "num_communities": (covered < coverage - 1e-12).sum(dim=1).numpy() + 1,
            "largest_community": communities[place].numpy(),
            "largest_share": largest.numpy(),
            "shared_with": [" ".join(map(str, classes[others].tolist())) for others in together],
        }
    )
