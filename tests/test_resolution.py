"""Communities over resolutions, on planted ones."""

import numpy as np
import pytest
from sklearn import metrics
from test_communities import planted

from graphmod.communities import leiden
from graphmod.resolution import resolution_profile


def test_resolution_profile() -> None:
    graph = planted()
    profile = resolution_profile(graph, [0.5, 1.0, 30.0], num_seeds=4)
    assert list(profile.resolution) == [0.5, 1.0, 30.0]
    assert profile.num_communities.is_monotonic_increasing
    assert profile.num_communities[1] == 4
    assert profile.stability[1] == 1.0
    assert profile.stability[2] < 0.9
    assert profile.modularity.idxmax() == 1 or profile.modularity[0] == profile.modularity[1]
    runs = [leiden(graph, resolution=30.0, seed=seed) for seed in range(4)]
    pairs = [metrics.adjusted_rand_score(a, b) for i, a in enumerate(runs) for b in runs[:i]]
    assert profile.stability[2] == pytest.approx(np.mean(pairs))
    with pytest.raises(ValueError, match="num_seeds must be at least 2; got 1"):
        resolution_profile(graph, num_seeds=1)
