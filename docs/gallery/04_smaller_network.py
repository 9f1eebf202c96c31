"""
A smaller network
=================

Layers that modularity can do without, taken out for real.
"""

import graphmod
from graphmod.datasets import load
from graphmod.models import build
from graphmod.training import accuracy

chosen_by, judged_by = load("digits", split="train"), load("digits")
model = build("digits", weights="default")

# %%
# Two layers are to go. The plan says which, in order, and why.

plan = graphmod.plan_removal(model, chosen_by.images[:200], chosen_by.labels[:200], num_layers=2)
for layer, reason in zip(plan.layer, plan.reason, strict=True):
    print(f"{layer}: {reason}")

# %%
# What is left is an ordinary module with fewer parameters.

smaller = graphmod.drop_layers(model, plan)
for name, network in {"whole": model, "smaller": smaller}.items():
    cost = graphmod.cost(network, judged_by.images[:1])
    right = accuracy(network, judged_by.images, judged_by.labels)
    print(
        f"{name}: {cost['num_parameters']:,} parameters, {cost['macs']:,} MACs, {right:.3f} right without any training"
    )
