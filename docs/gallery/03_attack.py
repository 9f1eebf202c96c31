"""
What an attack does, layer by layer
===================================

Attacks blur the classes; noise of the same size does not.
"""

import graphmod
from graphmod.attacks.noise import noise
from graphmod.attacks.pgd import pgd
from graphmod.datasets import load
from graphmod.models import build

digits = load("digits", num_samples=200, order="stratified")
model = build("digits", weights="default")
images, labels = digits.images, digits.labels

# %%
# Images stay in [0, 1]; the largest change of a pixel is a tenth of the range.

conditions = {"pgd": pgd(model, images, labels, eps=0.1), "noise": noise(model, images, labels, eps=0.1)}
curves = {name: graphmod.modularity_curve(model, moved, labels) for name, moved in conditions.items()}
ax = graphmod.plot_curve(graphmod.modularity_curve(model, images, labels), label="clean", beside=curves)
