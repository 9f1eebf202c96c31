"""Random input through every door: what comes back is a result, or one of our own refusals.

The permitted errors are ValueError, TypeError and OSError raised in a file of graphmod; whatever torch, NumPy, pandas,
Pillow or igraph raise by themselves is a defect. The short form is the same at every run, the long one is not.

Last long run (`pytest -m slow tests/test_fuzz.py`): 176,000 inputs in 512 seconds on one core, no finding.
"""

import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracles import said_by_us
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torch_geometric.data import Data

from analyses import modularity_curve
from graphmod import (
    DynamicGraph,
    ModularityTracker,
    from_activations,
    knn_graph,
    layer_names,
    leiden,
    modularity,
    published_curve,
)
from graphmod._family import members
from graphmod._names import natural_order
from graphmod._tensors import is_dense
from graphmod.activations import num_bytes
from graphmod.attacks import find_attack
from graphmod.commandline import parser
from graphmod.criteria import find_criterion
from graphmod.datasets import load
from graphmod.graphs import find_graph
from graphmod.graphs.euclidean_knn import euclidean_knn_graph
from graphmod.graphs.mutual_knn import mutual_knn_graph
from graphmod.metrics import find_metric
from graphmod.models import build, load_weights, networks
from graphmod.stored import StoredActivations
from graphmod.training import train

X, Y = torch.rand(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2
IMAGES = X.view(12, 2, 2).numpy()
MODEL = build("resnet20")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


# --- bytes ---


def npy(array: np.ndarray = IMAGES) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(images: bytes | None = None, labels: bytes | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("images.npy", images or npy())
        out.writestr("labels.npy", labels or npy(Y.numpy()))
    return file.getvalue()


def safetensors() -> bytes:
    return save({"conv1": X, "fc": X.half()})


def graphs() -> bytes:
    graph = knn_graph(X, 1, y=Y)
    tensors = {f"0.{name}": graph[name] for name in ("edge_index", "edge_weight", "edge_chosen")}
    return save({"y": Y, **tensors}, metadata={"graphs": json.dumps([{"layer": "fc", "compat": None}])})


def weights() -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": net().state_dict(), "epoch": 3}, file)
    return file.getvalue()


def checkpoint() -> bytes:
    with TemporaryDirectory() as folder:  # it runs when tests are collected, before any has a folder of its own
        path = Path(folder, "whole.ckpt")
        list(train(net(), X, Y, epochs=1, checkpoint=path))
        return path.read_bytes()


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (6, 5), bytes(range(90))).save(file, kind)
    return file.getvalue()


def idx() -> bytes:
    return struct.pack(">iiii", 2051, 4, 2, 2) + bytes(range(16))


def table() -> bytes:
    return b"epoch,layer,depth,metric,value\n1,0,1,modularity,0.5\n1,1,2,modularity,-1e-3\n"


def with_pickle(valid: bytes) -> Callable[[bytes], bytes]:
    """A torch file with another pickle in it."""

    def wrapped(pickled: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(valid)) as old, zipfile.ZipFile(file, "w") as out:
            for name in old.namelist():
                out.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
        return file.getvalue()

    return wrapped


def with_header(valid: bytes) -> Callable[[bytes], bytes]:
    """A safetensors file with another header, whose length is right."""
    (length,) = struct.unpack("<Q", valid[:8])
    return lambda text: struct.pack("<Q", len(text)) + text + valid[8 + length :]


def with_checksums(data: bytes) -> bytes:
    """A PNG file whose chunks have the right checksums, whatever they hold."""
    out, place = data[:8], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        content = data[place + 4 : place + 8 + length]
        out += data[place : place + 4] + content + struct.pack(">I", zlib.crc32(content))
        place += 12 + length
    return out + data[place:]


def changed(valid: bytes, seed: int) -> bytes:
    """Bytes of a valid file, flipped, cut, put in, moved and doubled in a few places; or bytes of no file at all."""
    chance, data = random.Random(seed), bytearray(valid)
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(200))
    for _ in range(chance.choice([1, 1, 1, 2, 2, 3, 8])):
        a, b = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(8):
            case 0 | 1 if data:
                data[a % len(data)] ^= 1 << chance.randrange(8)
            case 2 if data:
                data[a % len(data)] = chance.randrange(256)
            case 3:
                del data[a : chance.choice([b, a + 1, a + 4])]
            case 4:
                data[a:a] = chance.choice(
                    [b"\0" * 8, b"\xff" * 8, b"[" * 9, b'"', b"-1", b"99999999999", chance.randbytes(3)]
                )
            case 5:
                data[b:b] = data[a : a + chance.randrange(40)]
            case 6:
                number = chance.choice(
                    [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(data), len(data) * 1000]
                )
                data[a : a + 8] = struct.pack("<Q", number)[: chance.choice([1, 2, 4, 8])]
            case 7:
                digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
                if digits:
                    data[chance.choice(digits)] = chance.choice(b"0123456789-e.")
    return bytes(data)


def reworded(valid: bytes, seed: int) -> bytes:
    """A text in which some words and numbers are others."""
    chance = random.Random(seed)
    words = list(re.finditer(rb"[A-Za-z_]+\d*|-?\d+", valid))
    for word in sorted(
        chance.sample(words, min(len(words), chance.choice([1, 1, 2, 3]))), key=re.Match.start, reverse=True
    ):
        other = chance.choice(words)[0] if chance.random() < 0.4 else chance.choice(WORDS)
        valid = valid[: word.start()] + other + valid[word.end() :]
    return valid


def as_activations(path: Path) -> None:
    for tensor in StoredActivations(path).values():
        tensor.sum()


def as_file_of_mnist(_: Path) -> None:
    load("torchvision:MNIST", root=".")


Bytes = tuple[str, Callable[[], bytes], Callable[[bytes], bytes], Callable[[Path], Any], int]


WORDS = b"0 1 2 -1 3 12 48 1000000 2147483648 9223372036854775807 18446744073709551616 1e3 0.5 null true [] {} F16 I64 BOOL U8 C64 F8_E4M3 <f8 >f4 |O S1 f4,f4 m8 layer".split()


def same(data: bytes) -> bytes:
    return data


def bytes_targets() -> dict[str, Bytes]:
    """File name, the valid bytes that are changed, what is put round them, the door, and how many in the long form."""
    return {
        "npz": ("a.npz", lambda: npz(labels=npy()), same, as_activations, 6000),
        "array in npz": ("a.npz", npy, lambda data: npz(data, npy()), as_activations, 8000),
        "data set npz": ("a.npz", npz, same, lambda path: load(f"npz:{path}"), 4000),
        "array in data set npz": ("a.npz", npy, npz, lambda path: load(f"npz:{path}"), 4000),
        "labels in data set npz": (
            "a.npz", lambda: npy(Y.numpy()), lambda data: npz(None, data), lambda path: load(f"npz:{path}"), 4000
        ),
        "npy": ("layers/a.npy", npy, same, lambda path: as_activations(path.parent), 6000),
        "from_activations": ("layers/a.npy", npy, same, lambda path: from_activations(path.parent, Y), 2000),
        "safetensors": ("a.safetensors", safetensors, same, as_activations, 6000),
        "header of safetensors": (
            "a.safetensors", lambda: header(safetensors()), with_header(safetensors()), as_activations, 6000
        ),
        "weights safetensors": (
            "a.safetensors", lambda: save(net().state_dict()), same, lambda path: load_weights(net(), path), 4000
        ),
        "graphs": ("a.safetensors", graphs, same, DynamicGraph.load, 4000),
        "header of graphs": ("a.safetensors", lambda: header(graphs()), with_header(graphs()), DynamicGraph.load, 4000),
        "words of graphs": ("a.safetensors", lambda: header(graphs()), with_header(graphs()), DynamicGraph.load, 8000),
        "words of safetensors": (
            "a.safetensors", lambda: header(safetensors()), with_header(safetensors()), as_activations, 6000
        ),
        "words of npz": (
            "a.npz", lambda: npy(IMAGES)[10:128], lambda text: npz(array_of(text), array_of(text)), as_activations, 6000
        ),
        "words of npy": (
            "layers/a.npy", lambda: npy()[10:128], array_of, lambda path: as_activations(path.parent), 4000
        ),
        "weights": ("a.pt", weights, same, lambda path: load_weights(net(), path), 4000),
        "pickle of weights": (
            "a.pt", lambda: pickled(weights()), with_pickle(weights()), lambda path: load_weights(net(), path), 8000
        ),
        "pickle of a checkpoint": (
            "a.ckpt", lambda: pickled(checkpoint()), with_pickle(checkpoint()),
            lambda path: list(train(net(), X, Y, epochs=1, checkpoint=path)), 3000,
        ),
        "png": ("cat/a.png", lambda: picture("png"), same, lambda _: load("folder:."), 3000),
        "chunks of png": ("cat/a.png", lambda: picture("png"), with_checksums, lambda _: load("folder:."), 6000),
        **{
            kind: (f"cat/a.{kind}", lambda kind=kind: picture(kind), same, lambda _: load("folder:."), 2000)
            for kind in ("jpeg", "gif", "bmp", "tiff", "webp", "ppm")
        },
        "idx": ("MNIST/raw/t10k-images-idx3-ubyte", idx, same, as_file_of_mnist, 3000),
        "table": ("a.csv", table, same, lambda path: ModularityTracker(net(), X, Y, "all", path=path), 3000),
    }  # fmt: skip


def array_of(text: bytes) -> bytes:
    """A .npy file with another header, whose length is right."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + IMAGES.tobytes()


def header(data: bytes) -> bytes:
    return data[8 : 8 + struct.unpack("<Q", data[:8])[0]]


def pickled(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


# --- tensors, labels, graphs ---

NUMBERS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
KINDS = [
    *NUMBERS, torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.uint16, torch.uint64, torch.bool,
    torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip
ODD = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-320,
    1e-200,
    1e-30,
    65504.0,
    1e38,
    1e160,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
]


@st.composite
def tensors(draw: st.DrawFn, kinds: tuple = tuple(KINDS), dims: tuple[int, int] = (0, 4), largest: int = 9) -> Tensor:
    """Any shape, type, strides and layout; values of any size."""
    shape = draw(st.lists(st.integers(0, largest), min_size=dims[0], max_size=dims[1]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * draw(
        st.sampled_from([1, 1, 1, 5, 1e-160, 1e100])
    )
    if draw(st.integers(0, 2)) == 0 and x.numel():
        x = x.flatten()
        x[:: draw(st.integers(1, 9))] = draw(st.sampled_from(ODD))
        x = x.view(shape)
    x = x.to(draw(st.sampled_from(kinds)))
    return odd(x, draw(st.integers(0, 14)), draw(st.integers(1, 9)))


def odd(x: Tensor, kind: int, size: int) -> Tensor:
    """The same numbers in another layout, where torch has it."""
    with warnings.catch_warnings(), suppress(Exception):  # torch has no such form of it
        warnings.simplefilter("ignore")  # of what is deprecated or a prototype
        match kind:
            case 0:
                return x.T if x.dim() == 2 else x
            case 1:
                return x[::2] if x.dim() else x
            case 2:
                return x[:1].expand(size, *x.shape[1:])
            case 3:
                return x.requires_grad_()
            case 4:
                return x.to_sparse()
            case 5:
                return x.to("meta")
            case 6:
                return x.conj()
            case 7:
                return torch.nested.nested_tensor(list(x))
            case 8:
                return torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)
    return x


matrices = tensors(tuple(NUMBERS), (2, 2), 30)
METRICS = members("graphmod.metrics")
junk = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.floats(), st.integers(), st.just([[1], [2, 3]]), st.just({})
)
ks = st.one_of(st.integers(-2, 12), st.integers(1, 3), st.integers(), junk)
rows_of_ints = st.lists(st.integers(-1, 4), max_size=12)
labels = st.one_of(
    tensors((torch.int64, torch.int32, torch.uint16, torch.int8, torch.bool, torch.float32), (0, 2), 12),
    st.lists(st.integers(0, 3), min_size=1, max_size=12).map(torch.tensor),
    st.just(Y), st.just(Y * 2**60), st.just(Y.numpy()), st.just(Y.tolist()), rows_of_ints,
    st.lists(st.integers(), max_size=12), junk,
)  # fmt: skip


@st.composite
def weird_graphs(draw: st.DrawFn) -> Any:
    """A `Data` of which each part is mostly well and sometimes anything."""
    n, well = draw(st.integers(0, 12)), st.integers(0, 7)
    ends = st.integers(0, max(n - 1, 0)) if draw(well) else st.integers(-2, 14)
    pairs = draw(st.lists(st.tuples(ends, ends), max_size=20)) if n else []
    index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T if draw(well) else draw(tensors())
    if not draw(well):
        index = odd(index, 1, 1)
    content: dict[str, Any] = {"edge_index": index}
    if draw(st.booleans()):
        size = len(pairs)
        values = st.lists(
            st.sampled_from([1.0, 0.5, 0.0, 2.0, *ODD]) if not draw(well) else st.floats(0, 9),
            min_size=size,
            max_size=size,
        )
        content["edge_weight"] = (
            torch.tensor(draw(values), dtype=draw(st.sampled_from(NUMBERS)))
            if draw(well)
            else draw(st.one_of(tensors(), junk))
        )
    if draw(well):
        content["num_nodes"] = (
            n if draw(well) else draw(st.one_of(st.integers(-2, 20), st.just(3.0), st.just("3"), st.just(None)))
        )
    if draw(st.booleans()):
        content["y"] = torch.arange(n) % 3 if draw(well) else draw(labels)
    if not draw(well):
        content["edge_chosen"] = draw(st.one_of(tensors(), junk, st.just(torch.ones(len(pairs), dtype=torch.bool))))
    if not draw(well):
        content["compat"] = "lu2022"
    if draw(st.booleans()):
        content["x"] = torch.rand(n, 3) if draw(well) else draw(st.one_of(tensors(), junk))
    return Data(**content) if draw(st.integers(0, 40)) else draw(junk)


def load_graphs(parts: dict[str, Tensor], names: Any) -> None:
    """A file of graphs whose tensors and metadata may be anything that safetensors takes."""
    plain = {
        name: part.detach().resolve_conj().clone(memory_format=torch.contiguous_format) if is_dense(part) else X.clone()
        for name, part in parts.items()
    }
    text = names if isinstance(names, str) else json.dumps(names)
    Path("a.graphs").write_bytes(save(plain, metadata={"graphs": text.encode(errors="replace").decode()}))
    for graph in DynamicGraph.load("a.graphs").values():
        modularity(graph)


def make_graphs(x: Any, k: Any, y: Any) -> None:
    for function in (knn_graph, euclidean_knn_graph, mutual_knn_graph):
        quietly(lambda function=function: function(x, k, y=y))
    quietly(lambda: knn_graph(x, k, compat="lu2022"))


def score(graph: Any, partition: Any) -> None:
    for name in METRICS:
        given = () if name == "participation_ratio" else (partition,)  # which looks at no labels
        quietly(lambda name=name, given=given: find_metric(name)(graph, *given))


def detect(graph: Any, resolution: Any, seed: Any) -> None:
    quietly(lambda: leiden(graph, resolution=resolution, seed=seed, num_iterations=2))


arrays = st.one_of(
    tensors(), matrices, st.just(X), junk,
    st.tuples(st.sampled_from(["?", "i1", "<u2", ">f4", ">f8", "f2", "g", "c8", "U1", "O", "M8[s]", "V3"]), st.lists(st.integers(0, 5), max_size=3)).map(
        lambda pair: np.zeros(pair[1], pair[0])
    ),
    st.sampled_from([(1, 1), (-1, 1), (1, -1), (2, 1)]).map(lambda steps: X.numpy()[:: steps[0], :: steps[1]]),
    st.just(np.broadcast_to(X.numpy()[:, :1], (12, 4))),
)  # fmt: skip


# --- texts ---

texts = st.one_of(st.text(max_size=30), st.text("ab01.*:/_-=\n\0²٣\ud800K", max_size=30))
PLACES = [
    "",
    "folder:",
    "npz:",
    "torchvision:",
    "digits",
    "digits:",
    "torchvision:MNIST",
    "torchvision:FakeData",
    "npz:cat",
]
OPTIONS = [action.option_strings for action in parser(modularity_curve.main)._actions]
words = st.lists(st.one_of(st.sampled_from([name for names in OPTIONS for name in names]), texts), max_size=5)


def find(name: str) -> None:
    for function in (find_graph, find_metric, find_attack, find_criterion, build, published_curve):
        quietly(lambda function=function: function(name))
    quietly(lambda: networks([name, name + "=none"]))
    sorted([name, "layer10", "layer2"], key=natural_order)


def parse(words: list[str]) -> None:
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(said), suppress(SystemExit):
        parser(modularity_curve.main).parse_args(words)


sources = torch.arange(12).repeat_interleave(2)
ring = torch.stack([sources, (sources + torch.tensor([1, -1]).repeat(12)) % 12])
ring = ring[:, (ring[0] * 12 + ring[1]).argsort()]
parts = st.fixed_dictionaries(
    {
        "y": st.one_of(st.just(Y), st.just(Y), tensors(largest=12)),
        "0.edge_index": st.one_of(st.just(ring), st.just(ring), tensors((torch.int64,), (2, 2), 24), tensors()),
        "0.edge_weight": st.one_of(st.just(torch.ones(24)), tensors(tuple(NUMBERS), (1, 1), 24), tensors()),
    },
    optional={"0.edge_chosen": st.one_of(st.just(ring[0] > 3), tensors((torch.bool,), (1, 1), 24), tensors())},
)
fields = st.fixed_dictionaries(
    {}, optional={"layer": st.one_of(st.just("a"), texts, junk), "compat": st.one_of(st.just("lu2022"), junk)}
)
whole = st.just([{"layer": "fc"}])
metadata = st.one_of(whole, whole, st.lists(fields, max_size=2), junk, st.text('[]{}"a1,:', max_size=9))

DRAWN: dict[str, tuple[st.SearchStrategy, Callable[..., Any], int]] = {
    "graphs of features": (st.tuples(st.one_of(tensors(), matrices, junk), ks, st.one_of(st.none(), labels)), make_graphs, 6000),
    "graphs of matrices": (st.tuples(matrices, st.integers(1, 4), st.none()), make_graphs, 4000),
    "graphs files": (st.tuples(parts, metadata), load_graphs, 6000),
    "scores": (st.tuples(weird_graphs(), st.one_of(st.none(), labels)), score, 6000),
    "leiden": (st.tuples(weird_graphs(), st.one_of(st.just(1.0), st.floats()), st.integers(-1, 2**32)), detect, 5000),
    "activations": (
        st.tuples(st.one_of(st.dictionaries(st.text(max_size=3), arrays, max_size=2), junk), labels, ks),
        lambda x, y, k: from_activations(x, y, k=k), 5000,
    ),
    "layers": (
        st.tuples(st.one_of(texts, st.lists(texts, max_size=3), st.text("layer0123conv.*:", max_size=60), junk)),
        lambda pattern: layer_names(MODEL, pattern), 5000,
    ),
    "sizes": (st.tuples(st.one_of(texts, st.from_regex(r"\d+(\.\d+)? ?[KMGTk]?B?"), junk)), num_bytes, 4000),
    "data sets": (
        st.tuples(st.builds(str.__add__, st.sampled_from(PLACES), texts)), lambda name: load(name, num_samples=2), 4000
    ),
    "names": (st.tuples(st.builds(str.__add__, st.sampled_from(["", "resnet", "vgg", "torchvision:"]), texts)), find, 3000),
    "words": (st.tuples(words), parse, 4000),
}  # fmt: skip


# --- the runs ---


def quietly(door: Callable[[], Any]) -> None:
    """Goes through a door; the only errors that may come out are ours, and they have something to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a door may warn of odd input
        try:
            door()
        except Exception as error:
            if not said_by_us(error) or not str(error).strip():
                raise


def repeat(strategy: st.SearchStrategy, check: Callable[[Any], None], examples: int, long: bool) -> None:
    @settings(
        max_examples=examples, derandomize=not long, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def run(value: Any) -> None:
        check(value)

    run()


forms = pytest.mark.parametrize(
    "long", [pytest.param(False, id="short"), pytest.param(True, id="long", marks=pytest.mark.slow)]
)


@forms
@pytest.mark.parametrize("target", list(DRAWN))
def test_values(target: str, long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    strategy, door, many = DRAWN[target]
    repeat(strategy, lambda values: quietly(lambda: door(*values)), many if long else 25, long)


@forms
@pytest.mark.parametrize("target", list(bytes_targets()))
def test_bytes(target: str, long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, valid, wrapped, door, many = bytes_targets()[target]
    path, original = Path(name), valid()
    path.parent.mkdir(parents=True, exist_ok=True)
    if target == "idx":
        for other in ("t10k-labels", "train-images", "train-labels"):
            Path(f"MNIST/raw/{other}-idx{3 if 'images' in other else 1}-ubyte").write_bytes(
                idx() if "images" in other else struct.pack(">ii", 2049, 4) + bytes(4)
            )
    path.write_bytes(wrapped(original))
    door(path)  # as it is, it is read

    def check(seed: int) -> None:
        path.write_bytes(wrapped((reworded if target.startswith("words") else changed)(original, seed)))
        quietly(lambda: door(path))

    repeat(st.integers(0, 2**63), check, many if long else 40, long)


def test_an_error_of_others_is_seen() -> None:
    for door in (lambda: torch.ones(2).view(3), lambda: int("x"), lambda: np.zeros(2).reshape(3), lambda: {}["x"]):
        with pytest.raises((RuntimeError, ValueError, KeyError)):
            quietly(door)
    quietly(lambda: layer_names(MODEL, "nowhere"))
