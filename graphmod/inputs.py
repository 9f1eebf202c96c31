"""What a network is called with, where that is not one tensor: named tensors, the nodes of a graph, many graphs.

Each stands for samples as a tensor `[N, ...]` does: it has a length, rows `x[rows]`, and a device.
"""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.utils import scatter

from ._passes import evaluation


@dataclass(frozen=True)
class Named:
    """Samples of several tensors, such as the `input_ids` and `attention_mask` of texts.

    Args:
        tensors: Tensors `[N, ...]` by the name of the parameter of the network's forward.

    Raises:
        ValueError: If there are none, or they differ in N.

    Example:
        >>> texts = Named({"input_ids": torch.arange(6).view(3, 2), "attention_mask": torch.ones(3, 2)})
        >>> len(texts), texts[:2].tensors["input_ids"].tolist()
        (3, [[0, 1], [2, 3]])
    """

    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        shapes = {name: list(tensor.shape) for name, tensor in self.tensors.items()}
        if len({(*shape, None)[0] for shape in shapes.values()}) != 1:
            raise ValueError(f"named samples must be tensors with a row for each sample; got {shapes or 'no tensor'}")

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: Any) -> "Named":
        return Named({name: tensor[rows] for name, tensor in self.tensors.items()})

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.tensors.values())).device


@dataclass(frozen=True)
class Nodes:
    """Nodes of a graph as samples, for a graph neural network: the whole graph runs, of each layer these rows are kept.

    Args:
        data: The graph, with all that the network's forward names: `x`, `edge_index`, ...
        nodes: Row numbers, or a mask such as `data.test_mask`; all nodes if None.

    Example:
        >>> data = Data(x=torch.rand(4, 2), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.tensor([0, 1, 0, 1]))
        >>> len(Nodes(data)), Nodes(data, torch.tensor([True, False, False, True]))[1:].nodes.tolist()
        (4, [3])
    """

    data: Data
    nodes: Tensor | None = None

    def __post_init__(self) -> None:
        nodes = torch.arange(self.data.num_nodes) if self.nodes is None else torch.as_tensor(self.nodes)
        object.__setattr__(self, "nodes", nodes.nonzero().flatten() if nodes.dtype == torch.bool else nodes)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> "Nodes":
        return Nodes(self.data, self.rows[rows])

    @property
    def rows(self) -> Tensor:
        """Row numbers, int64."""
        assert self.nodes is not None  # __post_init__
        return self.nodes

    @property
    def device(self) -> torch.device:
        """Where the graph is."""
        device: torch.device = self.data.edge_index.device
        return device


@dataclass(frozen=True)
class Graphs:
    """Whole graphs as samples; of a layer that gives a row for each node, a graph's row is the mean of its nodes'.

    Args:
        graphs: A `Data` for each sample.

    Example:
        >>> one = Data(x=torch.rand(4, 2), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.tensor([1]))
        >>> len(Graphs([one] * 3)), len(Graphs([one] * 3)[torch.tensor([0, 2])])
        (3, 2)
    """

    graphs: Sequence[Data]

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, rows: Any) -> "Graphs":
        return Graphs([self.graphs[row] for row in torch.arange(len(self))[rows].reshape(-1).tolist()])

    @property
    def device(self) -> torch.device:
        """Where the first graph is."""
        device: torch.device = self.graphs[0].edge_index.device
        return device


Inputs = Tensor | Named | Nodes | Graphs
"""What stands for N samples."""


def join(parts: Sequence[Any]) -> Any:
    """Makes one input of several of a kind.

    Raises:
        ValueError: If they do not fit together, such as texts padded to unlike lengths.
    """
    first = parts[0]
    try:
        if len(parts) == 1:
            return first
        if isinstance(first, Tensor):
            return torch.cat(list(parts))
        if isinstance(first, Named):
            return Named({name: torch.cat([part.tensors[name] for part in parts]) for name in first.tensors})
    except (RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"the batches do not fit together ({str(error).splitlines()[0]}); give every sample one shape: pad texts "
            "to one length, scale images to one size"
        ) from error
    if isinstance(first, Graphs):
        return Graphs([graph for part in parts for graph in part.graphs])
    raise ValueError(f"the nodes of one graph are samples together; got {len(parts)} graphs with labelled nodes")


def forward(model: nn.Module, x: Any) -> Any:
    """Calls a network on the device and, for floating numbers, with the type of its first parameter.

    Named tensors and the parts of a graph go to the parameters of `forward` that have their names; a network that takes
    one thing of another name gets the only tensor, or the graph itself. Labels are not passed on.

    Raises:
        TypeError: If names and parameters do not fit.

    Example:
        >>> forward(nn.Linear(2, 3).bfloat16(), Named({"image": torch.rand(4, 2)})).shape
        torch.Size([4, 3])
    """
    if isinstance(x, Tensor):
        return model(moved(pixels(x), model))
    graph: Any = None
    if isinstance(x, Named):
        parts = {name: moved(tensor, model) for name, tensor in x.tensors.items()}
    else:
        graph = x.data if isinstance(x, Nodes) else Batch.from_data_list(list(x.graphs))
        graph = graph.clone().apply(partial(moved, model=model))
        parts = {name: graph[name] for name in graph.keys() if name != "y"}  # noqa: SIM118 - it is no dict
    parameters = inspect.signature(model.forward).parameters.values()
    named = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    unmet = [name for name, one in named.items() if one.default is one.empty and name not in parts]
    met = {name: part for name, part in parts.items() if name in named}
    if met and not unmet:
        return model(**met)
    single = [graph] if graph is not None else list(parts.values())
    if not met and len(unmet) <= 1 and len(single) == 1:
        return model(single[0])
    if not named and any(one.kind is one.VAR_KEYWORD for one in parameters):
        return model(**parts)
    raise TypeError(f"the network's forward needs {', '.join(unmet)}, and the samples have {', '.join(parts)}")


def first_tensor(output: Any) -> Tensor | None:
    """Returns the tensor that stands for a layer's output, or None if there is none."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = [output["last_hidden_state"]] if "last_hidden_state" in output else list(output.values())
    elif is_dataclass(output):
        output = [getattr(output, field.name) for field in fields(output)]
    if isinstance(output, Sequence):
        return next((item for item in output if isinstance(item, Tensor)), None)
    return None


def output_tensor(output: Any) -> Tensor:
    """Returns the tensor that stands for a network's output: what it calls `logits`, or its first tensor.

    Raises:
        TypeError: If it holds none.
    """
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    x = logits if isinstance(logits, Tensor) else first_tensor(output)
    if x is None:
        raise TypeError(f"the network gives {type(output).__name__}, which holds no tensor; let it give one")
    return x


def logits(output: Any) -> Tensor:
    """Returns the logits `[N, C]` in a classifier's output.

    Raises:
        TypeError: If it holds no tensor.
        ValueError: If it is of another shape, such as that of a network which names every token.
    """
    x = output_tensor(output)
    if x.dim() != 2:
        raise ValueError(f"a classifier must give logits [N, C], a row for each sample; got {list(x.shape)}")
    return x


def predictions(model: nn.Module, images: Tensor, *, batch_size: int = 256) -> Tensor:
    """Returns the logits `[N, C]` that a network gives for images, on the device of the images.

    Args:
        model: The network; it runs in evaluation mode and without gradients, and is left as it was.
        images: `[N, ...]`, uint8 in [0, 255], divided by 255, or floating.
        batch_size: Images in one forward pass.

    Raises:
        ValueError: If the network gives something of another shape.

    Example:
        >>> predictions(nn.Flatten(), torch.eye(2)[:, None]).argmax(1)
        tensor([0, 1])
    """
    with torch.no_grad(), evaluation(model):
        return torch.cat([logits(forward(model, x)) for x in images.split(batch_size)]).to(images.device)


def pixels(x: Tensor) -> Tensor:
    """Returns bytes as numbers in [0, 1], as images of bytes are meant; any other tensor as it is.

    Example:
        >>> pixels(torch.tensor([[255]], dtype=torch.uint8)).item(), pixels(torch.tensor([[255]])).item()
        (1.0, 255)
    """
    return x / 255 if x.dtype == torch.uint8 else x


def moved(x: Tensor, model: nn.Module) -> Tensor:
    """Returns a tensor on the device and, if it is floating, with the type of a network's first floating parameter."""
    like = next((one for one in model.parameters() if one.is_floating_point()), None)
    return x if like is None else x.to(like.device, like.dtype if x.is_floating_point() else None)


def one_row_each(x: Any, output: Tensor) -> Tensor:
    """Turns what a layer gives into a row for each sample: picks the nodes, or averages each graph's."""
    if isinstance(x, Nodes) and len(output) == x.data.num_nodes:
        return output[x.rows.to(output.device)]
    if isinstance(x, Graphs):
        sizes = torch.tensor([graph.num_nodes for graph in x.graphs])
        if len(output) == int(sizes.sum()) and len(output) != len(x):
            owner = torch.arange(len(x)).repeat_interleave(sizes).to(output.device)
            wide = output.to(torch.promote_types(output.dtype, torch.float32))  # sums of halves may overflow
            mean = scatter(wide, owner, reduce="mean", dim_size=len(x))
            return mean.to(output.dtype) if output.is_floating_point() else mean
    return output


def num_copies(x: Any) -> int:
    """Counts the samples that are exact copies of an earlier one; nodes and graphs, which edges tell apart, are none.

    Example:
        >>> num_copies(torch.tensor([[1.0], [2.0], [1.0]]))
        1
    """
    if isinstance(x, Nodes | Graphs):
        return 0
    parts = [x] if isinstance(x, Tensor) else list(x.tensors.values())
    seen: set[bytes] = set()
    for start in range(0, len(x), 256):  # a digest a sample, so that none is copied for good
        few = [part[start : start + 256].reshape(-1, part[0].numel()) + 0 for part in parts]  # −0 is 0
        for row in torch.cat([part.cpu().contiguous().view(torch.uint8) for part in few], 1).numpy():
            seen.add(hashlib.blake2b(row, digest_size=16).digest())
    return len(x) - len(seen)
