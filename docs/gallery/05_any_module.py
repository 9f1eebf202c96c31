"""
Any module, any layer
=====================

Layers by name, glob or kind; modules that run several times; texts.
"""

import torch
from torch import nn

import graphmod


class Reader(nn.Module):
    """A recurrent network that runs one cell for every letter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(30, 8), nn.GRUCell(8, 32), nn.Linear(32, 3)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        """Takes texts `[N, T]` and returns logits `[N, 3]`."""
        state = torch.zeros(len(letters), 32)
        for letter in self.embed(letters).unbind(1):
            state = self.cell(letter, state)
        return self.head(state)


torch.manual_seed(0)
topic = torch.arange(120) % 3
letters = torch.randint(0, 10, (120, 8)) + torch.where(torch.rand(120, 8) < 0.4, 10 * topic[:, None], 0)

# %%
# What a pattern means is listed without running anything.

model = Reader()
print(graphmod.layer_names(model, "all"), graphmod.layer_names(model, "**:Linear"))

# %%
# The cell runs eight times, so it is eight layers: a curve over the letters that were read.

curve = graphmod.modularity_curve(model, letters, topic, layers="cell")
ax = graphmod.plot_curve(curve)
