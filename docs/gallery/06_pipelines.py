"""
The graphs in torch_geometric
=============================

A graph network on a layer's graph, networkx, igraph.
"""

import torch
from torch_geometric.nn import GCN

import graphmod
from graphmod.datasets import load
from graphmod.models import build
from graphmod.pyg import DynamicGraphDataset

digits = load("digits", num_samples=300, order="stratified")
graphs = graphmod.dynamic_graph(build("digits", weights="default"), digits.images, digits.labels, k=5, keep_x=True)
dataset = DynamicGraphDataset(graphs)
print(dataset[0])

# %%
# Two graph convolutions learn the digits from a tenth of the labels, on the pixels and the edges of the first layer.

data = dataset[0]
torch.manual_seed(0)
seen = torch.rand(data.num_nodes) < 0.1
network = GCN(64, 32, num_layers=2, out_channels=10)
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
pixels = digits.images.flatten(1)
for _ in range(100):
    logits = network(pixels, data.edge_index, data.edge_weight)
    loss = torch.nn.functional.cross_entropy(logits[seen], data.y[seen])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
right = (logits.argmax(1) == data.y)[~seen].double().mean()
print(f"{int(seen.sum())} labels known, {right:.2f} of the others right")

# %%
# The network itself is a network like others: here is where its two layers put the nodes.

graphmod.modularity_curve(
    network, data.__class__(x=pixels, **{key: data[key] for key in ("edge_index", "edge_weight", "y")})
)

# %%
# Other libraries see the same graph.

peer = graphmod.to_igraph(data)
print(peer.modularity(peer.vs["y"], weights="weight"), float(graphmod.modularity(data)))
