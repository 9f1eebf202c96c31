"""Cuts: what is gone, by place and not by what stands there, and what is numbered anew."""

from torch import nn

from graphmod._cuts import cut


def test_places_are_cut() -> None:
    act = nn.ReLU()
    model = nn.ModuleDict({
        "list": nn.ModuleList([nn.Linear(1, 1), act, nn.Linear(2, 2), act]),
        "chain": nn.Sequential(nn.Linear(3, 3), act, nn.Linear(4, 4)),
    })  # fmt: skip
    cut(model, ["list.0", "list.1", "chain.1"])
    assert [name for name, _ in model.named_modules(remove_duplicate=False) if "." in name] == [
        "list.0", "list.1", "chain.0", "chain.2",
    ]  # fmt: skip
    assert model["list"][0].in_features == 2
    assert model["list"][1] is act
