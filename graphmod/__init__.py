"""graphmod: how a neural network separates its classes, layer by layer.

The samples that a layer puts near one another are joined to a graph, and the modularity of the class labels on that
graph says how far the layer has pulled the classes apart.
"""

from importlib.metadata import version

from . import _quiet as _quiet
from .activations import layer_activations, layer_names
from .curves import dynamic_graph, measure, modularity_curve, published_curve, summarize
from .graphs._dynamic import DynamicGraph
from .graphs.knn import knn_graph
from .metrics.modularity import modularity, modularity_terms
from .plots import plot_curve

__version__ = version("graphmod")
__all__ = [
    "DynamicGraph",
    "dynamic_graph",
    "knn_graph",
    "layer_activations",
    "layer_names",
    "measure",
    "modularity",
    "modularity_curve",
    "modularity_terms",
    "plot_curve",
    "published_curve",
    "summarize",
]
