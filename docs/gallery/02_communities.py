"""
Communities against labels
==========================

Leiden finds the communities that are there; are they the classes?
"""

import pandas as pd

import graphmod
from graphmod.datasets import load
from graphmod.models import build
from graphmod.plots.panels import plot_panels

digits = load("digits", num_samples=400, order="stratified")
graphs = graphmod.dynamic_graph(build("digits", weights="default"), digits.images, digits.labels)

# %%
# Q of the labels beside Q of the best partition, and how far the two agree (AMI: 1 for equal partitions, 0 by chance).

rows = [graphmod.compare_communities(graph, graphmod.leiden(graph)) for graph in graphs.values()]
table = pd.DataFrame(rows).assign(layer=list(graphs), depth=range(1, len(rows) + 1))
panels = {"modularity Q": ["modularity_labels", "modularity_found"], "agreement": ["ami", "purity"]}
ax = plot_panels(table, panels)

# %%
# The samples that sit among another class at the first layer, and how far from chance Q is there.

first = graphs["conv1"]
print(graphmod.worst_samples(first, num_samples=3))
print({name: round(float(value), 3) for name, value in graphmod.permutation_test(first).items()})
