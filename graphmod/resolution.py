"""How the communities of a graph depend on the resolution, and which of them any seed finds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch_geometric.data import Data

from .communities import Flavor, leiden
from .metrics.modularity import modularity


def resolution_profile(
    graph: Data,
    resolutions: Sequence[float] = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0),
    *,
    num_seeds: int = 10,
    seed: int = 0,
    flavor: Flavor = "igraph",
    num_iterations: int = -1,
) -> pd.DataFrame:
    """Finds communities over a range of resolutions, to choose one where they are stable.

    A resolution can be trusted where Leiden gives the same communities whatever the seed; a range over which their
    number stays the same is a scale of the graph.

    Args:
        graph: As in `leiden`.
        resolutions: The values of γ.
        num_seeds: Runs at each of them, at least 2, with `seed`, `seed + 1`, and so on.
        seed: The first seed.
        flavor: As in `leiden`.
        num_iterations: As in `leiden`.

    Returns:
        One row a resolution: `resolution`; means over the runs `num_communities` and `modularity` (at γ = 1, to be
        compared across rows); and `stability`, the mean adjusted Rand index of two runs, 1 if all are the same.

    Raises:
        ValueError: As `leiden`; if there are fewer than 2 seeds.

    Example:
        >>> import torch
        >>> two_pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> resolution_profile(two_pairs, [1.0], num_seeds=3).to_dict("records")
        [{'resolution': 1.0, 'num_communities': 2.0, 'modularity': 0.5, 'stability': 1.0}]
    """
    from sklearn.metrics import adjusted_rand_score

    if num_seeds < 2:
        raise ValueError(f"num_seeds must be at least 2; got {num_seeds}")
    rows = []
    for resolution in resolutions:
        runs = [
            leiden(graph, resolution=resolution, seed=seed + i, flavor=flavor, num_iterations=num_iterations)
            for i in range(num_seeds)
        ]
        arrays = [run.cpu().numpy() for run in runs]
        pairs = [adjusted_rand_score(a, b) for i, a in enumerate(arrays) for b in arrays[:i]]
        rows.append(
            {
                "resolution": float(resolution),
                "num_communities": float(np.mean([run.max() + 1 for run in arrays])),
                "modularity": float(np.mean([float(modularity(graph, run)) for run in runs])),
                "stability": float(np.mean(pairs)),
            }
        )
    return pd.DataFrame(rows)
