"""Files that mean harm, through every door that takes a file: nothing in them runs, and one sentence says what is wrong.

A canary file would be made by whatever is run. After each door no other file is there than before.
"""

import io
import json
import pickle
import shutil
import struct
import tarfile
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import said_by_us
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch_geometric.data import Data

from analyses import modularity_curve
from graphmod import (
    DynamicGraph,
    ModularityTracker,
    dynamic_graph,
    from_activations,
    knn_graph,
    layer_names,
    leiden,
    modularity,
    track_checkpoints,
)
from graphmod._finished import finished_work
from graphmod._names import natural_order
from graphmod.activations import num_bytes
from graphmod.commandline import run
from graphmod.datasets import load
from graphmod.graphs._build import make_graph
from graphmod.graphs.euclidean_knn import euclidean_knn_graph
from graphmod.metrics.label_overlap import label_overlap
from graphmod.metrics.silhouette import silhouette
from graphmod.models import build, load_weights
from graphmod.pyg import DynamicGraphDataset
from graphmod.reports import write_report, write_settings
from graphmod.stored import StoredActivations
from graphmod.training import train

X, Y = torch.rand(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2


class Bomb:
    """Pickled by its class and read back, it makes the file `ran`."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("ran"),)


class Exec:
    def __reduce__(self) -> tuple:
        return exec, ("open('ran', 'w').close()",)


@pytest.fixture(autouse=True)
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Bomb()))  # the trap works
    assert Path("ran").exists()
    Path("ran").unlink()
    yield tmp_path / "ran"
    assert not (tmp_path / "ran").exists()


# --- the files ---


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npy_header(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + data


def archive(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as out:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, data in members:
            out.writestr(name, data)
    return file.getvalue()


def npz(array: bytes, **options: Any) -> bytes:
    return archive(("images.npy", array), ("labels.npy", npy(np.arange(12) % 2)), ("conv1.npy", array), **options)


def encrypted(data: bytes) -> bytes:
    """Each member, here and in the directory, says that it needs a password."""
    return data.replace(b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1").replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1")


def stated(shape: str, data: bytes = b"", kind: str = "<f4") -> bytes:
    return npy_header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}", data)


def saved(thing: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file, **options)
    return file.getvalue()


def other_member(data: bytes, member: str, content: Callable[[bytes], bytes]) -> bytes:
    old = zipfile.ZipFile(io.BytesIO(data))
    return archive(
        *((name, content(old.read(name)) if name.endswith(member) else old.read(name)) for name in old.namelist()),
        method=zipfile.ZIP_STORED,
    )


def lying_storage(data: bytes) -> bytes:
    """A tensor of 4 numbers says that it has a hundred million."""
    many = b"J" + struct.pack("<i", 10**8)
    return data.replace(b"K\x04t", many + b"t").replace(b"K\x04\x85", many + b"\x85")


def traced() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated; its files are not gone
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), file)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as out:
        for name in ("pickle", "storages", "tensors", "../up"):
            content = pickle.dumps(Bomb(), 2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return file.getvalue()


def safetensors(header: Any, data: bytes = bytes(64), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(data or bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def picture(kind: str, size: tuple[int, int] = (16, 16)) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 50).save(file, kind)
    return file.getvalue()


def graphs(
    names: Any = ({"layer": "a", "compat": None},),
    edges: Any = ((0, 1), (1, 0)),
    metadata: str | None = None,
    **tensors,
) -> bytes:
    """A file of one graph of 12 nodes, but for what is said."""
    edge_index = torch.tensor(edges)
    content = {"y": Y, "0.edge_index": edge_index, "0.edge_weight": torch.ones(edge_index.shape[-1]), **tensors}
    save_file(content, "graphs", metadata={"graphs": json.dumps(names) if metadata is None else metadata})
    data = Path("graphs").read_bytes()
    Path("graphs").unlink()
    return data


LINEAR = {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}

ZIPPED = {
    "object array": lambda: npz(npy(np.array([Bomb()] * 12))),
    "object array of another kind": lambda: npz(npy(np.array([Exec(), None]))),
    "pickle as member": lambda: npz(pickle.dumps(Bomb())),
    "record of objects": lambda: npz(npy(np.array([(1.0, Bomb())], dtype=[("a", "f4"), ("b", "O")]))),
    "array of 4 TB": lambda: npz(stated("(1099511627776,)", bytes(100))),
    "array of 4 GB": lambda: npz(stated("(1073741824,)", bytes(100))),
    "array of 2^70": lambda: npz(stated("(1180591620717411303424,)", bytes(100))),
    "array of negative size": lambda: npz(stated("(-1, -25)", bytes(100))),
    "array shorter than its member": lambda: npz(stated("(2,)", bytes(100))),
    "none at all by many": lambda: npz(stated("(0, 4611686018427387904, 8)")),
    "header that calls": lambda: npz(npy_header("__import__('os').system('touch ran')", bytes(100))),
    "header deep in brackets": lambda: npz(npy_header("(" * 9000, bytes(100))),
    "header that never ends": lambda: npz(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{" * 100),
    "array version 9": lambda: npz(b"\x93NUMPY\x09\x00" + bytes(100)),
    "text array": lambda: npz(npy(np.array(["a"] * 12))),
    "times": lambda: npz(npy(np.zeros(12, "M8[s]"))),
    "complex": lambda: npz(npy(np.zeros((12, 4), complex))),
    "long double": lambda: npz(npy(np.zeros((12, 4), np.longdouble))),
    "bzip2": lambda: npz(npy(np.zeros((12, 4), np.float32)), method=zipfile.ZIP_BZIP2),
    "lzma": lambda: npz(npy(np.zeros((12, 4), np.float32)), method=zipfile.ZIP_LZMA),
    "encrypted": lambda: encrypted(npz(npy(np.eye(12)))),
    "damaged": lambda: npz(npy(np.eye(12)), method=zipfile.ZIP_STORED).replace(b"\xf0\x3f", b"\xf1\x3f"),
    "cut": lambda: npz(npy(np.eye(12)))[:-60],
    "start of a zip": lambda: b"PK\x03\x04" + bytes(100),
    "end of a zip": lambda: b"PK\x05\x06" + bytes(18),
    "two of a name": lambda: archive(("conv1.npy", npy(np.eye(2))), ("conv1.npy", npy(np.array([Bomb()])))),
}
PICKLED = {
    "pickle": lambda: pickle.dumps(Bomb()),
    "old pickle": lambda: pickle.dumps(Bomb(), 0),
    "pickle that executes": lambda: pickle.dumps({"weight": Exec()}, 2),
    "torch zip with a bomb": lambda: other_member(saved(LINEAR), "data.pkl", lambda _: pickle.dumps(Bomb(), 2)),
    "torch zip saved with a bomb": lambda: saved({**LINEAR, "epoch": Bomb()}),
    "torch legacy with a bomb": lambda: saved([Bomb()], _use_new_zipfile_serialization=False),
    "torch legacy": lambda: saved(torch.zeros(3), _use_new_zipfile_serialization=False)[:-4],
    "torch module": lambda: saved(nn.Linear(2, 2)),
    "TorchScript": traced,
    "torch tar": tarred,
    "torch storage that lies": lambda: other_member(saved({"weight": torch.zeros(4)}), "data.pkl", lying_storage),
    "torch without a pickle": lambda: archive(("archive/data/0", bytes(16)), ("archive/version", b"3")),
    "numbers as names": lambda: saved({0: torch.zeros(2), "state_dict": 5}),
    "sparse weights": lambda: saved({**LINEAR, "weight": torch.eye(2).to_sparse()}),
    "meta weights": lambda: saved({**LINEAR, "weight": torch.empty(2, 2, device="meta")}),
    "nested weights": lambda: saved({"state_dict": {"weights": LINEAR}}),
    "checkpoint of nothing": lambda: saved(dict.fromkeys(["settings", "history", "model", "optimizer", "schedule"])),
    "checkpoint of lists": lambda: saved(
        {"settings": [], "history": [{"epoch": "x"}], "model": [], "optimizer": {}, "schedule": {}}
    ),
}
TENSORS = {
    "header of 2^63": lambda: safetensors({}, length=2**63),
    "header of 99 MB": lambda: safetensors({}, length=99_000_000),
    "header of nothing": lambda: safetensors({}, length=0),
    "header cut": lambda: safetensors({"a": entry([16], 0, 64)})[:20],
    "header no JSON": lambda: safetensors(b"{'a': 1}"),
    "header deep in brackets": lambda: safetensors(b"[" * 100_000),
    "header a list": lambda: safetensors([1]),
    "overlap": lambda: safetensors({"a": entry([16], 0, 64), "b": entry([16], 0, 64)}),
    "hole": lambda: safetensors({"a": entry([4], 0, 16), "b": entry([4], 48, 64)}),
    "beyond the end": lambda: safetensors({"a": entry([32], 0, 128)}),
    "backwards": lambda: safetensors({"a": entry([16], 64, 0)}),
    "shape that lies": lambda: safetensors({"a": entry([1000], 0, 64)}),
    "shape that overflows": lambda: safetensors({"a": entry([2**32, 2**32], 0, 64)}),
    "negative shape": lambda: safetensors({"a": entry([-16], 0, 64)}),
    "unknown type": lambda: safetensors({"a": entry([16], 0, 64, "O")}),
    "whole numbers": lambda: safetensors({"a": entry([16], 0, 64, "I32")}),
    "8-bit floats": lambda: safetensors({"a": entry([12, 4], 0, 48, "F8_E4M3")}, bytes(48)),
    "4-bit floats": lambda: safetensors({"a": entry([12, 4], 0, 24, "F4")}, bytes(24)),
    "complex": lambda: safetensors({"a": entry([8], 0, 64, "C64")}),
}
GRAPHS = {
    "index outside": lambda: graphs(edges=((0, 12), (12, 0))),
    "negative index": lambda: graphs(edges=((-1, 0), (0, -1))),
    "three rows": lambda: graphs(edges=((0, 1), (1, 0), (0, 0))),
    "one row": lambda: graphs(edges=(0, 1)),
    "index of another type": lambda: graphs(**{"0.edge_index": torch.tensor([[0.0, 1.0], [1.0, 0.0]])}),
    "no index": lambda: graphs(names=[{"layer": "a"}, {"layer": "b"}]),
    "no weight": lambda: safetensors(
        {"y": entry([12], 0, 96, "I64"), "__metadata__": {"graphs": '[{"layer": "a"}]'}}, bytes(96)
    ),
    "NaN weight": lambda: graphs(**{"0.edge_weight": torch.full((2,), torch.nan)}),
    "infinite weight": lambda: graphs(**{"0.edge_weight": torch.full((2,), torch.inf)}),
    "negative weight": lambda: graphs(**{"0.edge_weight": -torch.ones(2)}),
    "complex weight": lambda: graphs(**{"0.edge_weight": torch.ones(2) * 1j}),
    "8-bit weight": lambda: graphs(**{"0.edge_weight": torch.ones(2).to(torch.float8_e4m3fn)}),
    "too many weights": lambda: graphs(**{"0.edge_weight": torch.ones(3)}),
    "mark of another kind": lambda: graphs(**{"0.edge_chosen": torch.ones(2)}),
    "fewer nodes": lambda: graphs(y=torch.zeros(1, dtype=torch.int64)),
    "labels a number": lambda: graphs(y=torch.tensor(3)),
    "labels a matrix": lambda: graphs(y=torch.zeros(12, 2, dtype=torch.int64)),
    "floating labels": lambda: graphs(y=torch.rand(12)),
    "metadata no JSON": lambda: graphs(metadata="{'layer': 1}"),
    "metadata deep in brackets": lambda: graphs(metadata="[" * 100_000),
    "metadata of a huge number": lambda: graphs(metadata="9" * 5000),
    "metadata a number": lambda: graphs(names=3),
    "metadata a mapping": lambda: graphs(names={"layer": "a"}),
    "metadata of nothing": lambda: graphs(names=[]),
    "layer a number": lambda: graphs(names=[{"layer": 10**300}]),
    "layer a list": lambda: graphs(names=[{"layer": ["a"]}]),
    "layer twice": lambda: graphs(
        names=[{"layer": "a"}] * 2,
        **{"1.edge_index": torch.tensor([[0, 1], [1, 0]]), "1.edge_weight": torch.ones(2)},
    ),
    "compat unknown": lambda: graphs(names=[{"layer": "a", "compat": {"x": 1}}]),
}
IMAGES = {
    "PNG of 30000 x 30000": lambda: png(30_000, 30_000),
    "PNG of 10000 x 10000": lambda: png(10_000, 10_000),
    "PNG of 0 x 0": lambda: png(0, 0),
    "PNG cut": lambda: picture("png")[:-100],
    "JPEG cut": lambda: picture("jpeg", (200, 200))[:2000],
    "GIF cut": lambda: picture("gif")[:60],
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 6\n(ran) (w) file closefile showpage\n",
    "text": lambda: b"not an image",
    "nothing": lambda: b"",
    "zeros": lambda: bytes(1000),
    "YAML": lambda: b"!!python/object/apply:os.system ['touch ran']\n",
    "JSON": lambda: b'{"weight": [1, 2]}',
    "table": lambda: b"epoch,layer,depth,metric,value\n1,a,1,modularity,=cmd|' /C calc'!A0\n",
    "table of huge numbers": lambda: f"epoch,layer,depth,metric,value\n{'9' * 40},a,1,modularity,1\n".encode(),
}
FILES = {
    f"{kind}: {name}": make
    for kind, files in {
        "archive": ZIPPED, "pickle": PICKLED, "safetensors": TENSORS, "graphs": GRAPHS, "image": IMAGES
    }.items()
    for name, make in files.items()
}  # fmt: skip


# --- the doors ---


def named(data: bytes, name: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def study(*words: str) -> None:
    """A study's command line; what it says becomes the error."""
    run(modularity_curve.main, [*words, "--out", "results/study"])


DOORS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "build .pt": ("evil.pt", lambda path: build("digits", weights=path)),
    "build .pth": ("evil.pth", lambda path: build("digits", weights=str(path))),
    "build .safetensors": ("evil.safetensors", lambda path: build("digits", weights=path)),
    "load_weights": ("evil.bin", lambda path: load_weights(nn.Linear(2, 2), path)),
    "data set npz:": ("evil.npz", lambda path: load(f"npz:{path}")),
    "data set folder:": ("images/test/cat/evil.png", lambda _: load("folder:images")),
    "data set folder: by JPEG": ("images/test/cat/evil.jpg", lambda _: load("folder:images", image_size=8)),
    "from_activations .npz": ("evil.npz", lambda path: from_activations(path, Y)),
    "from_activations .safetensors": ("evil.safetensors", lambda path: from_activations(str(path), Y)),
    "from_activations .npy": ("layers/evil.npy", lambda path: from_activations(path.parent, Y)),
    "StoredActivations": ("evil.npz", lambda path: dict(StoredActivations(path))),
    "StoredActivations folder": ("layers/evil.npy", lambda path: dict(StoredActivations(path.parent))),
    "DynamicGraph.load": ("evil.safetensors", DynamicGraph.load),
    "DynamicGraphDataset": ("evil.graphs", DynamicGraphDataset),
    "DynamicGraphDataset folder": ("study/graphs/repeat0.safetensors", lambda _: DynamicGraphDataset("study")),
    "track_checkpoints": ("epochs/epoch3.ckpt", lambda _: track_checkpoints(net(), "epochs", X, Y)),
    "track_checkpoints .safetensors": ("epoch3.safetensors", lambda path: track_checkpoints(net(), [path], X, Y)),
    "ModularityTracker": ("evil.csv", lambda path: ModularityTracker(net(), X, Y, path=path)),
    "train": ("evil.ckpt", lambda path: list(train(net(), X, Y, epochs=1, checkpoint=path))),
}
COMMANDS = {
    "--weights .pt": ("evil.pt", lambda path: ["--weights", str(path)]),
    "--weights .safetensors": ("evil.safetensors", lambda path: ["--weights", str(path)]),
    "--compare": ("evil.pth", lambda path: ["--compare", f"digits={path}", "--num-samples", "40"]),
    "--dataset npz:": ("evil.npz", lambda path: ["--dataset", f"npz:{path}"]),
    "--dataset folder:": ("images/cat/evil.png", lambda path: ["--dataset", f"folder:{path.parents[1]}"]),
}


def tree() -> dict[str, int]:
    return {str(path): path.stat().st_size for path in Path().rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore:all samples of")  # of a single feature
@pytest.mark.parametrize("kind", FILES)
def test_no_door_lets_it_in(kind: str) -> None:
    data = FILES[kind]()
    for door, (name, open_) in DOORS.items():
        named(data, name)
        before = tree()
        with pytest.raises((ValueError, TypeError, OSError)) as caught:
            open_(Path(name))
        assert said_by_us(caught.value), (door, caught.value)
        assert Path(name).name in str(caught.value), (door, caught.value)
        assert len(str(caught.value).splitlines()) == 1, (door, caught.value)
        assert tree() == before, door
        shutil.rmtree(Path(name).parts[0]) if len(Path(name).parts) > 1 else Path(name).unlink()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "kind",
    [
        "pickle: pickle", "pickle: torch zip with a bomb", "pickle: torch legacy with a bomb", "pickle: TorchScript",
        "archive: object array", "archive: array of 4 TB", "safetensors: header of 2^63", "image: PNG of 10000 x 10000",
    ],
)  # fmt: skip
def test_a_command_ends_in_one_sentence(kind: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, words = COMMANDS[command]
    path = named(FILES[kind](), name)
    before = tree()
    with pytest.raises(SystemExit) as ended:
        study("--num-samples", "1", "--repeats", "1", *words(path))
    said, *kept = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert said.startswith("error: ")
    assert path.name in said
    assert len(kept) == (command == "--compare")  # which comes to it when the studied network is measured
    assert {name: size for name, size in tree().items() if not name.startswith("results/.study.finished")} == before


# --- what the doors say, where it matters ---


def test_nothing_is_reserved_that_the_file_cannot_fill() -> None:
    for shape in ("(1073741824,)", "(268435456, 1)"):
        path = named(npz(stated(shape, bytes(100))), "evil.npz")
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"bytes of conv1, which states (4294967|1073741)\d+"):
            StoredActivations(path)["conv1"]
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        tracemalloc.stop()


def test_a_size_that_the_directory_states_too() -> None:
    """The header and the directory of the archive agree on 4 GB; the file has a hundred bytes."""
    member = stated("(1073741824,)")
    data = archive(("conv1.npy", member), method=zipfile.ZIP_STORED)
    told = struct.pack("<I", len(member))
    lies = struct.pack("<I", min(2**32 - 2, 4 * 1073741824 + len(member)))
    path = named(data.replace(told * 2, told + lies), "evil.npz")
    with pytest.raises(ValueError, match=r"evil.npz is not a NumPy archive of plain arrays: "):
        StoredActivations(path)["conv1"]


def test_what_compresses_well_is_read() -> None:
    np.savez_compressed("zeros.npz", conv1=np.zeros((1000, 1000), np.float32))
    assert StoredActivations("zeros.npz")["conv1"].shape == (1000, 1000)


def test_other_byte_orders_are_read() -> None:
    x = np.random.default_rng(0).random((12, 4))
    expected = from_activations({"a": x}, Y)["a"].edge_index
    for array in (x.astype(">f8"), np.asfortranarray(x), x.astype(">f4")):
        np.savez("a.npz", a=array)
        Path("layers").mkdir(exist_ok=True)
        np.save("layers/a.npy", array)
        for path in ("a.npz", "layers"):
            assert torch.equal(from_activations(path, Y)["a"].edge_index, expected)


def test_names_are_names_and_never_paths() -> None:
    names = ["../up", "/etc/up", "a/../../up", "..", ".", "a\nb", "²", "1" * 5000]
    x = np.random.default_rng(0).random((12, 4)).astype(np.float32)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name in names:
            out.writestr(f"{name}.npy", npy(x))
    named(file.getvalue(), "in/layers.npz")
    save_file({name: torch.from_numpy(x.copy()) for name in names}, "in/layers.safetensors")
    for path in ("in/layers.npz", "in/layers.safetensors"):
        found = from_activations(path, Y)
        assert set(found) == set(names)
        found.save("in/graphs.safetensors")
        assert list(DynamicGraph.load("in/graphs.safetensors")) == list(found)
    assert set(tree()) == {"in/layers.npz", "in/layers.safetensors", "in/graphs.safetensors"}


def test_links_are_followed_and_what_is_no_file_is_said() -> None:
    Path("cat").mkdir(parents=True)
    Path("real").write_bytes(picture("png"))
    Path("cat/1.png").symlink_to(Path("real").absolute())
    assert len(load("folder:.")) == 1
    Path("cat/2.png").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*2.png"):
        load("folder:.")
    Path("cat/2.png").unlink()
    import os

    os.mkfifo("cat/3.png")  # who opens it waits for ever
    os.mkfifo("layer.npy")
    os.mkfifo("evil.pt")
    for door in (
        lambda: load("folder:."),
        lambda: from_activations(".", Y),
        lambda: build("digits", weights="evil.pt"),
    ):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            door()


def test_hidden_files_are_no_layers() -> None:
    np.save("a.npy", np.eye(12))
    Path("._a.npy").write_bytes(b"what a file system left")
    assert list(StoredActivations(".")) == ["a"]


def test_an_array_in_the_place_of_an_archive() -> None:
    named(npy(np.eye(12)), "x.npz")
    for door in (lambda: load("npz:x.npz"), lambda: StoredActivations("x.npz")):
        with pytest.raises(ValueError, match="x.npz is not a NumPy archive of plain arrays"):
            door()


def test_an_image_is_what_its_bytes_are() -> None:
    named(picture("gif"), "cat/1.png")
    assert load("folder:.").images.shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(12) - 1, r"x.npz: labels must be in 0 … 99999; got -1 to 10"),
        (np.full(12, 2**40), r"labels must be in 0 … 99999; got 1099511627776 to 1099511627776"),
        (np.arange(12) / 2, r"labels must be integers \[N\], N at least 1; got float64"),
        (np.array(["cat"] * 12), r"labels must be integers \[N\], N at least 1; got <U3"),
        (np.array(3), r"labels must be integers \[N\], N at least 1; got int64 \[\]"),
        (np.zeros((12, 1), int), r"labels must be integers \[N\], N at least 1; got int64 \[12, 1\]"),
    ],
)
def test_labels_of_another_kind(labels: np.ndarray, message: str) -> None:
    np.savez("x.npz", images=np.zeros((12, 4, 4), np.uint8), labels=labels)
    with pytest.raises(ValueError, match=message):
        load("npz:x.npz")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((12, 4, 4), complex), "images must be uint8 or floating; got complex128"),
        (np.array([["x"]] * 12), "images must be uint8 or floating; got <U1"),
        (np.zeros((12, 0, 4), np.float32), r"images must be \[N, C, H, W\] with one label each; got \[12, 1, 0, 4\]"),
        (np.full((12, 4, 4), np.nan), r"images must be uint8 or in \[0, 1\]; got nan to nan"),
    ],
)
def test_images_of_another_kind(images: np.ndarray, message: str) -> None:
    np.savez("x.npz", images=images, labels=np.arange(12) % 2)
    with pytest.raises(ValueError, match=message):
        load("npz:x.npz")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["schedule"].update(step=3),
        lambda state: state["schedule"].update(optimizer=None),
        lambda state: state["optimizer"]["param_groups"][0].update(lr="fast"),
        lambda state: state["optimizer"]["param_groups"][0].update(params=[0]),
        lambda state: state["optimizer"]["param_groups"].clear(),
        lambda state: state["optimizer"]["state"].update({0: {"momentum_buffer": torch.zeros(7)}}),
        lambda state: state["optimizer"]["state"].update({99: {}}),
        lambda state: state["model"].popitem(),
        lambda state: state["model"].update({"0.weight": torch.zeros(3)}),
        lambda state: state["history"].append("epoch"),
        lambda state: state["settings"].update(lr=torch.zeros(2)),
    ],
)
def test_a_checkpoint_of_another_kind(change: Callable[[dict], Any]) -> None:
    torch.manual_seed(0)
    list(train(net(), X, Y, epochs=2, checkpoint="run.ckpt"))
    state = torch.load("run.ckpt", weights_only=True)
    change(state)
    torch.save(state, "run.ckpt")
    with pytest.raises(ValueError, match=r"run.ckpt is not a checkpoint of (a|this) training") as caught:
        list(train(net(), X, Y, epochs=2, checkpoint="run.ckpt"))
    assert said_by_us(caught.value)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "a" * 300 + ".npz", "\ud800.npz", "/proc/self/mem", "/dev/zero"])
def test_names_that_no_file_can_have(name: str) -> None:
    doors: list[Callable[[], Any]] = [
        lambda: build("digits", weights=name),
        lambda: load(f"npz:{name}"),
        lambda: load(f"folder:{name}"),
        lambda: from_activations(name, Y),
        lambda: DynamicGraph.load(name),
    ]
    for door in doors:
        with pytest.raises(
            (FileNotFoundError, ValueError), match=r"there is no (file|folder)|is not a|must be a"
        ) as caught:
            door()
        assert said_by_us(caught.value)


def test_what_is_well_passes_the_same_doors(clusters: tuple[Tensor, Tensor]) -> None:
    x, y = clusters
    np.savez("x.npz", a=x.numpy())
    graph = from_activations("x.npz", y)
    graph.save("graphs.safetensors")
    assert torch.equal(DynamicGraph.load("graphs.safetensors")["a"].edge_index, knn_graph(x).edge_index)
    data = graphs()
    assert DynamicGraph.load(named(data, "well.safetensors"))["a"].num_nodes == 12
    model = net()
    torch.save({"state_dict": model.state_dict()}, "epoch1.pt")
    assert len(track_checkpoints(net(), ["epoch1.pt"], X, Y))


# --- values that met errors of others ---


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.rand(12, 0), ValueError, r"x must have shape \[N, D\] with D of at least 1; got \[12, 0\]"),
        (X.double() * 1e160, ValueError, r"x holds numbers beyond 1e\+150, whose squares overflow; scale it down"),
        (X.double() * 1e-160, ValueError, r"x holds no number above 1e-150, and smaller squares vanish; scale it up"),
        (X.to(torch.float8_e4m3fn), TypeError, "x must be a tensor of floating type; got torch.float8_e4m3fn"),
        (X.to_sparse(), TypeError, "x must be a tensor of floating type; got torch.float32, not dense"),
        (X.to("meta"), TypeError, "x must be a tensor of floating type; got torch.float32, not dense"),
    ],
)
def test_features_of_another_kind(x: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        knn_graph(x)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([0, 1], TypeError, "y must be a dense tensor; got list"),
        (torch.tensor(1), ValueError, r"y must have one row for each of 12 samples; got \[\]"),
        (Y.float().to_sparse(), TypeError, "y must be a dense tensor; got torch.float32, not dense"),
    ],
)
def test_labels_that_a_graph_cannot_keep(y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        knn_graph(X, y=y)


RING = torch.stack([torch.arange(4), (torch.arange(4) + 1) % 4])


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        ([1, 2], TypeError, "graph must be a torch_geometric Data; got list"),
        (
            Data(edge_index=RING, num_nodes=4.0),
            ValueError,
            "the graph must have num_nodes, an integer of at least 0; got 4.0",
        ),
        (
            Data(edge_index=RING, num_nodes=-1),
            ValueError,
            "the graph must have num_nodes, an integer of at least 0; got -1",
        ),
        (Data(edge_index="ring", num_nodes=4), TypeError, "edge_index must be int64; got str"),
        (Data(edge_index=RING.to_sparse(), num_nodes=4), TypeError, "edge_index must be a dense tensor"),
        (
            Data(edge_index=RING, edge_weight=[1.0] * 4, num_nodes=4),
            TypeError,
            "edge_weight must be a tensor of real numbers",
        ),
        (Data(edge_index=RING, edge_weight=1j * torch.ones(4), num_nodes=4), TypeError, "got torch.complex64"),
    ],
)
def test_graphs_of_another_kind(graph: Any, error: type[Exception], message: str) -> None:
    for function in (lambda: modularity(graph, torch.tensor([0, 0, 1, 1])), lambda: leiden(graph)):
        with pytest.raises(error, match=message):
            function()


def test_a_mark_and_features_of_another_kind() -> None:
    graph = Data(edge_index=RING, edge_chosen=torch.ones(3), num_nodes=4, y=torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"edge_chosen must be bool \[4\], one for each edge"):
        label_overlap(graph)
    for x, message in (
        ("x", "the features x must be a dense tensor of 4 rows"),
        (torch.ones(4, 0), "at least one number"),
    ):
        with pytest.raises(ValueError, match=message):
            silhouette(Data(edge_index=RING, x=x, num_nodes=4, y=graph.y))


def test_labels_of_unsigned_types() -> None:
    graph = knn_graph(X)
    for kind in (torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool):
        assert modularity(graph, Y.to(kind)) == modularity(graph, Y)
    assert torch.equal(from_activations({"a": X}, Y.to(torch.uint16))["a"].y, Y)
    with pytest.raises(TypeError, match="labels must be a dense tensor"):
        modularity(graph, Y.to_sparse())
    with pytest.raises(TypeError, match="the numbers of the classes; got torch.int64, not dense"):
        from_activations({"a": X}, Y.to_sparse())
    with pytest.raises(TypeError, match="labels must be integers, the numbers of the classes"):
        from_activations({"a": X}, [2**70] * 12)


def test_arrays_in_any_form_of_memory() -> None:
    x = X.double().numpy()
    expected = from_activations({"a": x}, Y)["a"].edge_index
    fixed = x.copy()
    fixed.flags.writeable = False
    for array in (fixed, np.asfortranarray(x), x[::-1][::-1], x.astype(">f8"), x.tolist()):
        assert torch.equal(from_activations({"a": array}, Y)["a"].edge_index, expected)
    assert from_activations({"a": x[:, 0]}, Y, graph=euclidean_knn_graph)["a"].num_nodes == 12
    for value, message in (
        (x.astype(int), "layer 'a' must be an array of floating numbers; got int64"),
        (x.astype(np.longdouble), "layer 'a' must be an array of floating numbers; got float128"),
        ([[1.0], [2.0, 3.0]], "layer 'a' must be an array of floating numbers: "),
        (None, "layer 'a' must be an array of floating numbers; got object"),
        (X.to_sparse(), "layer 'a' must be a tensor of floating type; got torch.float32, not dense"),
    ):
        with pytest.raises(TypeError, match=message):
            from_activations({"a": value}, Y)
    with pytest.raises(ValueError, match=r"layer 'a' must have shape \[N, ...\]; got \[\]"):
        from_activations({"a": torch.tensor(1.0)}, Y)
    with pytest.raises(TypeError, match="activations must be a mapping from layers to arrays, or a path; got list"):
        from_activations([X], Y)


def test_patterns_sizes_and_names_of_any_text() -> None:
    model = build("resnet20")
    with pytest.raises(ValueError, match="there is no layer named"):
        layer_names(model, "**" * 200 + "!")  # in no time
    for pattern in (3, [None], ["conv1", 4.0]):
        with pytest.raises(TypeError, match="layers must be one name or pattern, or several; got"):
            layer_names(model, pattern)
    for size in ("9" * 400, "1\u212aB", "", True):
        with pytest.raises(ValueError, match="max_memory must be a number of bytes or a size"):
            num_bytes(size)
    for name in ("resnet\n20", "resnet" + "9" * 5000, "resnet²", "²"):
        with pytest.raises(ValueError, match="there is no model named"):
            build(name)
    names = ["²", "10", "9" * 5000, "a10", "a2", "2", "a02b"]
    assert sorted(names, key=natural_order)[-3:] == ["2", "10", "9" * 5000]


def test_every_data_set_of_torchvision_is_refused_in_a_sentence() -> None:
    from torchvision import datasets

    for name in [*datasets.__all__, "__class__", "vision", ""]:
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            load(f"torchvision:{name}", num_samples=2)
        assert said_by_us(caught.value), (name, caught.value)


def test_a_report_of_tables_that_are_none() -> None:
    write_settings("study", {"k": 3})
    Path("study/table.csv").write_bytes(b'a,b\n"1')
    with pytest.raises(ValueError, match=r"study/table.csv is not a table"):
        write_report("report.html", "A network", {"study": "What was measured."})
    assert not Path("report.html").exists()


def test_finished_work_that_was_changed_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    with finished_work("work"):
        expected = dynamic_graph(model, X, Y, "all")
        for file in Path("work").iterdir():
            file.write_bytes(pickle.dumps(Bomb()))
        again = dynamic_graph(model, X, Y, "all")
    assert all(torch.equal(again[layer].edge_weight, expected[layer].edge_weight) for layer in expected)


def test_what_is_refused_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    with pytest.raises(ValueError, match="edge weights must be at least 0; got a negative one"):
        make_graph(torch.tensor([[0, 1], [1, 0]]), torch.tensor([-1.0, -1.0]), 2)
    lost = Data(edge_index=torch.tensor([[0], [1]]), x=[1, 2], num_nodes=None)
    monkeypatch.setattr(Data, "num_nodes", property(lambda _: 1 / 0))
    with pytest.raises(ValueError, match="the graph must have num_nodes; they cannot be guessed: division by zero"):
        modularity(lost, torch.tensor([0, 1]))
    torch.save({"weight": torch.zeros(2, 2, dtype=torch.complex64), "bias": torch.zeros(2)}, "complex.pt")
    with pytest.raises(ValueError, match="complex.pt holds complex weights for real ones, or real for complex"):
        load_weights(nn.Linear(2, 2), "complex.pt")

    class Broken:
        def __init__(self, *_: object, **__: object) -> None:
            raise KeyError("no such part")

    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Broken"))
    monkeypatch.setattr(datasets, "Broken", Broken, raising=False)
    with pytest.raises(ValueError, match="torchvision:Broken cannot be read: 'no such part'; use folder:PATH or pass"):
        load("torchvision:Broken")
