"""Activations that are already there: the same graphs, whatever they are kept in; and nothing in a file is run."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from graphmod import DynamicGraph, dynamic_graph, from_activations, layer_activations
from graphmod.datasets import load
from graphmod.models import build
from graphmod.stored import StoredActivations


@pytest.fixture(scope="module")
def layers() -> tuple[dict[str, Tensor], Tensor, DynamicGraph]:
    model, data = build("digits", weights="default"), load("digits", num_samples=100, order="stratified")
    graphs = dynamic_graph(model, data.images, data.labels)
    return layer_activations(model, data.images, list(graphs)), data.labels, graphs


def equal(one: DynamicGraph, other: DynamicGraph) -> bool:
    return list(one) == list(other) and all(
        torch.equal(one[name][key], other[name][key]) for name in one for key in ("edge_index", "edge_weight", "y")
    )


def test_the_graphs_are_those_of_the_network(
    layers: tuple[dict[str, Tensor], Tensor, DynamicGraph], tmp_path: Path
) -> None:
    activations, labels, expected = layers
    arrays = {name: x.numpy() for name, x in activations.items()}
    assert equal(from_activations(activations, labels), expected)
    assert equal(from_activations(arrays, labels.tolist()), expected)
    assert equal(from_activations({name: x.flatten(1) for name, x in activations.items()}, labels), expected)
    np.savez(tmp_path / "layers.npz", **arrays)
    assert equal(from_activations(tmp_path / "layers.npz", labels), expected)
    save_file({name: x.contiguous() for name, x in activations.items()}, tmp_path / "layers.safetensors")
    assert equal(from_activations(str(tmp_path / "layers.safetensors"), labels), expected)
    (tmp_path / "folder").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "folder" / f"{name}.npy", array)
    assert equal(from_activations(tmp_path / "folder", labels), expected)
    assert not equal(from_activations(activations, labels, k=5), expected)


def test_layers_come_in_their_natural_order(tmp_path: Path) -> None:
    for name in ("layer10", "layer2", "conv1"):
        np.save(tmp_path / f"{name}.npy", np.eye(3, dtype=np.float32))
    stored = StoredActivations(tmp_path)
    assert list(stored) == ["conv1", "layer2", "layer10"]
    assert len(stored) == 3
    with pytest.raises(KeyError):
        stored["layer3"]


def test_a_memory_map_stays_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((20, 5)))
    before = (tmp_path / "a.npy").read_bytes()
    stored = StoredActivations(tmp_path)
    stored["a"].add_(1)
    assert (tmp_path / "a.npy").read_bytes() == before
    assert stored["a"].max() < 1


class Bomb:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("ran"),)


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file or folder nowhere.npz"):
        StoredActivations("nowhere.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no arrays"):
        StoredActivations(tmp_path / "empty")
    (tmp_path / "layers.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must be a .npz or .safetensors file, or a folder of .npy files"):
        StoredActivations(tmp_path / "layers.pt")
    for name in ("broken.npz", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"not an archive")
        with pytest.raises(ValueError, match=f"{name} is not a (NumPy archive of plain arrays|safetensors file)"):
            StoredActivations(tmp_path / name)
    np.savez(tmp_path / "bomb.npz", conv1=np.array([Bomb()], dtype=object))
    (tmp_path / "pickled.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="is not a NumPy archive of plain arrays"):
        StoredActivations(tmp_path / "bomb.npz")["conv1"]
    with pytest.raises(ValueError, match="is not a NumPy archive of plain arrays"):
        StoredActivations(tmp_path / "pickled.npz")
    assert not (tmp_path / "ran").exists()
    np.savez(tmp_path / "whole.npz", conv1=np.arange(3))
    with pytest.raises(ValueError, match=r"layer 'conv1' of .*whole.npz must hold floating numbers; got int64"):
        StoredActivations(tmp_path / "whole.npz")["conv1"]


def test_what_does_not_fit() -> None:
    x, y = torch.rand(20, 4), torch.arange(20) % 2
    with pytest.raises(ValueError, match=r"labels must have shape \[19\]"):
        from_activations({"a": x, "b": x[:19]}, y)
    with pytest.raises(ValueError, match="k must be at least 1 and smaller than the number of samples; got k=20"):
        from_activations({"a": x}, y, k=20)
    with pytest.raises(ValueError, match="a dynamic graph needs at least one layer"):
        from_activations({}, y)
    with pytest.warns(UserWarning, match="class 1 has 2 samples: with k = 3"):
        from_activations({"a": x}, torch.tensor([1, 1] + [0] * 18))
