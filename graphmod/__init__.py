"""graphmod: how a neural network separates its classes, layer by layer.

The samples that a layer puts near one another are joined to a graph, and the modularity of the class labels on that
graph says how far the layer has pulled the classes apart.
"""

from importlib.metadata import version

from . import _quiet as _quiet
from .activations import layer_activations, layer_names
from .communities import compare_communities, leiden, resolution_profile, temporal_leiden
from .curves import dynamic_graph, measure, modularity_curve, published_curve, summarize
from .graphs._dynamic import DynamicGraph
from .graphs.knn import knn_graph
from .metrics.modularity import modularity, modularity_terms
from .mixing import class_communities, class_mixing, sample_modularity, worst_samples
from .plots.curve import plot_curve
from .significance import confidence_interval, permutation_test
from .trajectories import community_events, community_flows, prediction_depth

__version__ = version("graphmod")
__all__ = [
    "DynamicGraph",
    "class_communities",
    "class_mixing",
    "community_events",
    "community_flows",
    "compare_communities",
    "confidence_interval",
    "dynamic_graph",
    "knn_graph",
    "layer_activations",
    "layer_names",
    "leiden",
    "measure",
    "modularity",
    "modularity_curve",
    "modularity_terms",
    "permutation_test",
    "plot_curve",
    "prediction_depth",
    "published_curve",
    "resolution_profile",
    "sample_modularity",
    "summarize",
    "temporal_leiden",
    "worst_samples",
]
