"""graphmod: how a neural network separates its classes, layer by layer.

The samples that a layer puts near one another are joined to a graph, and the modularity of the class labels on that
graph says how far the layer has pulled the classes apart.
"""

from importlib.metadata import version

from . import _quiet as _quiet
from .activations import layer_activations, layer_names
from .communities import compare_communities, leiden, temporal_leiden
from .costs import cost
from .curve_tables import compare_curves, summarize
from .curves import dynamic_graph, from_activations, measure, modularity_curve
from .exchange import from_igraph, from_networkx, to_igraph, to_networkx
from .graphs._dynamic import DynamicGraph
from .graphs.knn import knn_graph
from .layer_matrices import modularity_difference
from .metrics.modularity import modularity, modularity_terms
from .mixing import class_communities, class_mixing, sample_modularity, worst_samples
from .plots.curve import plot_curve
from .pruning import drop_layers, plan_removal, redundant_layers, removable_layers
from .published import published_curve
from .resolution import resolution_profile
from .significance import permutation_test
from .similarity import cka_matrix, edge_jaccard, graph_matrix, linear_cka, mutual_neighbors
from .tracking import ModularityTracker, track_checkpoints
from .trajectories import community_events, community_flows, prediction_depth
from .uncertainty import confidence_interval

__version__ = version("graphmod")
__all__ = [
    "DynamicGraph",
    "ModularityTracker",
    "cka_matrix",
    "class_communities",
    "class_mixing",
    "community_events",
    "community_flows",
    "compare_communities",
    "compare_curves",
    "confidence_interval",
    "cost",
    "drop_layers",
    "dynamic_graph",
    "edge_jaccard",
    "from_activations",
    "from_igraph",
    "from_networkx",
    "graph_matrix",
    "knn_graph",
    "layer_activations",
    "layer_names",
    "leiden",
    "linear_cka",
    "measure",
    "modularity",
    "modularity_curve",
    "modularity_difference",
    "modularity_terms",
    "mutual_neighbors",
    "permutation_test",
    "plan_removal",
    "plot_curve",
    "prediction_depth",
    "published_curve",
    "redundant_layers",
    "removable_layers",
    "resolution_profile",
    "sample_modularity",
    "summarize",
    "temporal_leiden",
    "to_igraph",
    "to_networkx",
    "track_checkpoints",
    "worst_samples",
]
