"""Small things of each kind, drawn at random by hypothesis."""

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected


@st.composite
def weighted_graphs(draw: st.DrawFn, max_nodes: int = 12) -> tuple[Data, Tensor]:
    """Random undirected weighted graphs with at least one edge, and labels."""
    n = draw(st.integers(2, max_nodes))
    pairs = [(i, j) for i in range(n) for j in range(i)]
    edges = draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))
    weights = draw(st.lists(st.floats(0.01, 100), min_size=len(edges), max_size=len(edges)))
    index, weight = to_undirected(torch.tensor(edges).T, torch.tensor(weights, dtype=torch.float64), num_nodes=n)
    labels = torch.tensor(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    return Data(edge_index=index, edge_weight=weight, num_nodes=n), labels
