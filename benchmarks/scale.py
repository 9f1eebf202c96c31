"""Large graphs: memory, several processes, whole networks, the published pipeline, and how the cost grows.

    make bench

Ratios are of one run on one machine. What is timed is checked: two processes against one, Q against networkx's.
"""

import argparse
import heapq
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import networkx
import numpy as np
import pandas as pd
import torch
from _bench import interleaved, write
from neighbors import features
from torch import Tensor

from graphmod import dynamic_graph, knn_graph, modularity
from graphmod.activations import layer_activations, layer_names
from graphmod.graphs._topk import nearest_neighbors
from graphmod.models import build

MEMORY = """
import sys, threading, time, torch
torch.set_num_threads(int(sys.argv[2]))
from graphmod import from_activations
def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))
peak, done, before = [0], threading.Event(), anonymous()
def watch():
    while not done.wait(0.01):
        peak[0] = max(peak[0], anonymous())
thread = threading.Thread(target=watch)
thread.start()
start = time.perf_counter()
from_activations(sys.argv[1], torch.arange(5000) % 10, k=15, progress=False)
seconds = time.perf_counter() - start
done.set()
thread.join()
print((peak[0] - before) / 1e3, seconds)
"""
PROCESS = """
import sys, time, torch, torch.distributed as dist
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[4])
from neighbors import features
from graphmod.distributed import own_rows, all_rows, shared_work
from graphmod.graphs._topk import nearest_neighbors
rank, size, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method="file://" + place + f"/store{size}", rank=rank, world_size=size)
x = features("relu", 5000, 4096)
with shared_work():
    own, seconds = x[own_rows(5000)].clone(), []
    for _ in range(6):
        dist.barrier()
        start = time.perf_counter()
        whole = all_rows(own, 5000)
        between = time.perf_counter()
        index = nearest_neighbors(whole, 15)[1]
        seconds.append((time.perf_counter() - between, between - start))
if rank == 0:
    torch.save(index, place + f"/index{size}.pt")
    print(*sorted(seconds[1:])[2])
dist.destroy_process_group()
"""


def published(x: Tensor, y: Tensor, k: int = 3) -> float:
    """Q by the published steps: all similarities, a heap for each row, a dense matrix, networkx."""
    rows = torch.nn.functional.normalize(x).numpy()
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, 0)
    dense = np.zeros_like(similarity)
    for i, row in enumerate(similarity):
        nearest = heapq.nlargest(k, range(len(row)), row.take)
        dense[i, nearest] = row[nearest]
    graph = networkx.from_numpy_array((dense + dense.T) / 2)
    classes = [set((y == label).nonzero().flatten().tolist()) for label in y.unique()]
    q: float = networkx.community.modularity(graph, classes)
    return q


def beside(work: str, ours: float, peer: str = "", theirs: float | None = None) -> dict[str, str]:
    """A row of the table, from seconds."""
    ratio = 0.0 if theirs is None else theirs / ours
    return {
        "work": work,
        "graphmod": f"{ours:.3g} s",
        "beside": peer,
        "takes": f"{theirs:.3g} s" if theirs else "",
        "ratio": f"{ratio:.{1 if ratio > 10 else 2}f}" if ratio else "",
    }


def memory(threads: int) -> list[dict[str, str]]:
    """A layer of 65,536 features as a memory map: what is held beside the map."""
    with tempfile.TemporaryDirectory() as place:
        layer = np.lib.format.open_memmap(f"{place}/layer.npy", mode="w+", dtype=np.float32, shape=(5000, 65_536))
        for start in range(0, 5000, 500):
            layer[start : start + 500] = features("relu", 500, 65_536).numpy()
        layer.flush()
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEMORY, place, str(threads)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    held, seconds = map(float, ran.stdout.split())
    return [beside(f"memory map, N=5,000 D=65,536: {held:.0f} MB beside the map", seconds)]


def processes(repeats: int) -> list[dict[str, str]]:
    """Two processes of one thread each beside one of one thread; and two that have nothing to do with one another."""
    here = str(Path(__file__).parent)

    def start(rank: int, size: int, place: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROCESS, str(rank), str(size), place, here],
            env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finish(started: list[subprocess.Popen]) -> list[list[float]]:  # seconds of the search, and of the exchange
        return [list(map(float, said.split())) for said in [process.communicate()[0] for process in started]]

    rounds = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as other:
            alone = finish([start(0, 1, place)])
            shared = finish([start(rank, 2, place) for rank in range(2)])
            if not torch.equal(torch.load(f"{place}/index1.pt"), torch.load(f"{place}/index2.pt")):
                raise SystemExit("two processes found other edges than one; no time is worth taking")
            Path(place, "a").mkdir()
            strangers = finish([start(0, 1, folder) for folder in (f"{place}/a", other)])
            rounds.append(
                (alone[0][0], shared[0][0], shared[0][1], statistics.mean(seconds for seconds, _ in strangers))
            )
    one, two, exchange, stranger = map(statistics.median, zip(*rounds, strict=True))
    work, alone = "2 processes of 1 thread (gloo), N=5,000 D=4,096, k=15", "1 process of 1 thread, same edges"
    return [
        beside(work, two, alone, one),
        beside("the same, after each gave the other its rows", two + exchange, alone, one),
        beside("for comparison: each of 2 unrelated searches at once, twice the work", stranger, alone, 2 * one),
    ]


def approximate(repeats: int) -> list[dict[str, str]]:
    """The approximate search of pynndescent."""
    from pynndescent import NNDescent

    x, k = features("relu", 20_000, 1024), 15
    found = {}

    def peer() -> None:
        found["index"] = NNDescent(x.numpy(), metric="cosine", n_neighbors=k + 1, random_state=0).neighbor_graph[0]

    peer()  # compiles
    seconds = interleaved({"ours": lambda: nearest_neighbors(x, k), "peer": peer}, repeats)
    ours, theirs = statistics.median(seconds["ours"]), statistics.median(seconds["peer"])
    exact = nearest_neighbors(x, k)[1]
    recall = (torch.from_numpy(found["index"][:, 1:]).long()[:, :, None] == exact[:, None]).any(2).double().mean()
    return [beside("N=20,000 D=1,024, k=15, exact", ours, f"pynndescent, {recall:.3f} of the neighbours", theirs)]


def pipeline() -> list[dict[str, str]]:
    """The whole way from features to Q."""
    x, y = features("relu", 5000, 4096), torch.arange(5000) % 10
    found: dict[str, float] = {}
    seconds = interleaved(
        {
            "ours": lambda: found.update(ours=float(modularity(knn_graph(x, 3, y=y)))),
            "theirs": lambda: found.update(theirs=published(x, y)),
        },
        3,
    )
    if abs(found["ours"] - found["theirs"]) > 1e-3:  # they round to float32, which may swap neighbours
        raise SystemExit(f"Q differs: {found}")
    ours, theirs = (statistics.median(seconds[name]) for name in ("ours", "theirs"))
    return [
        beside("from features to Q, N=5,000 D=4,096, k=3", ours, "heap, dense matrix, networkx, as published", theirs)
    ]


def whole_network(num_samples: int) -> list[dict[str, str]]:
    """All layers of a ResNet-56, forward pass and graphs, against the forward pass and one product a layer."""
    model, y = build("resnet56"), torch.arange(num_samples) % 10
    x = torch.rand(num_samples, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = {}
    for memory in ("8GB", "2GB"):
        start = time.perf_counter()
        dynamic_graph(model, x, y, max_memory=memory, progress=False)
        ours[memory] = time.perf_counter() - start
    start = time.perf_counter()
    activations = layer_activations(model, x, progress=False)
    for name in layer_names(model):
        rows = activations.pop(name)
        torch.mm(rows, rows.T)
    theirs = time.perf_counter() - start
    work = f"28 graphs of ResNet-56, N={num_samples:,}, k=3, in"
    return [beside(f"{work} {memory}", ours[memory], "forward pass and torch.mm", theirs) for memory in ours]


def growth(threads: int, folder: Path) -> pd.DataFrame:
    """Seconds against N and against D, with the plain product where its result fits."""
    import seaborn as sns

    rows = []
    for axis, sizes in {
        "N": [(n, 512) for n in (500, 1000, 2000, 5000, 10_000, 20_000, 50_000)],
        "D": [(5000, d) for d in (64, 256, 1024, 4096, 16_384)],
    }.items():
        for n, d in sizes:
            x = features("relu", n, d)
            contestants = {"graphmod": lambda x=x: nearest_neighbors(x, 3)}
            if n <= 20_000:
                contestants["torch.mm alone"] = lambda x=x: torch.mm(x, x.T)
            for name, seconds in interleaved(contestants, 7 if n <= 5_000 else 3).items():
                rows.append({"axis": axis, "N": n, "D": d, "what": name, "seconds": statistics.median(seconds)})
    table = pd.DataFrame(rows)
    table["size"], table[" "] = table.N.where(table.axis == "N", table.D), table.what
    grid = sns.relplot(
        table, x="size", y="seconds", hue=" ", col="axis", kind="line", marker="o", facet_kws={"sharex": False}
    )
    grid.set(xscale="log", yscale="log")
    for ax, text in zip(grid.axes.flat, ("samples N (D = 512)", "features D (N = 5,000)"), strict=True):
        ax.set(xlabel=text, title="")
        ax.grid(which="both", alpha=0.3)
    grid.figure.suptitle(f"exact nearest neighbours, k = 3, {threads} threads", y=1.03)
    grid.figure.savefig(folder / "growth.png", dpi=150, bbox_inches="tight")
    return table


def main() -> None:
    """Runs the benchmark, prints its table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scale.md"))
    parser.add_argument("--network-samples", type=int, default=5000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    rows: list[dict[str, str]] = []
    for step in (
        lambda: memory(options.threads), lambda: processes(9), lambda: approximate(3), pipeline,
        lambda: whole_network(options.network_samples),
    ):  # fmt: skip
        rows += (found := step())
        print(pd.DataFrame(found).to_string(index=False, header=False), flush=True)
    grown = growth(options.threads, options.out.parent)
    for (_, n, d), seconds in grown.set_index(["axis", "N", "D", "what"]).seconds.groupby(level=[0, 1, 2], sort=False):
        ours, *theirs = seconds  # torch.mm alone where its result fits
        peer = ("torch.mm alone", *theirs) if theirs else ()
        rows.append(beside(f"N={n:,} D={d:,}, k=3", ours, *peer))
    print(pd.DataFrame(rows).to_string(index=False))
    write(options.out, "Large graphs", "edges checked first;", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
