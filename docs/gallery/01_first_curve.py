"""
A first curve
=============

How far the layers of a small network have pulled ten digits apart, beside the same network with random weights.
"""

# %%
# A network and labelled images; any module and any tensors will do.

import graphmod
from graphmod.datasets import load
from graphmod.models import build

digits = load("digits")
trained, random = build("digits", weights="default"), build("digits")

# %%
# Five disjoint draws of 200 images: the table holds the mean and the spread of each layer.

curve = graphmod.modularity_curve(trained, digits.images, digits.labels, repeats=5)
curve[["layer", "modularity", "modularity_std", "overlap", "expected", "normalized"]].round(3)

# %%
# The pixels of these digits separate the classes already, so the curve begins high. Without training it only falls.

untrained = graphmod.modularity_curve(random, digits.images, digits.labels, repeats=5)
ax = graphmod.plot_curve(curve, label="trained", beside={"random weights": untrained})
