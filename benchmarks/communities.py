"""Leiden beside leidenalg, and modularity beside igraph, in one process, interleaved; medians of the repeats.

    make bench

No time counts unless Leiden's Q is at most 0.001 below that of leidenalg in the median over the seeds, and modularity
equals igraph's to 1e-9.
"""

import argparse
import statistics
from pathlib import Path

import igraph
import leidenalg
import pandas as pd
import torch
from _bench import interleaved, write
from torch_geometric.data import Data

from graphmod import knn_graph, leiden, modularity
from graphmod.communities import _to_igraph

SEEDS = range(5)


def clusters(n: int, separation: float, k: int) -> Data:
    """The neighbour graph of ten Gaussian clusters in 32 dimensions."""
    generator, labels = torch.Generator().manual_seed(0), torch.arange(n) % 10
    return knn_graph(torch.randn(n, 32, generator=generator) + separation * torch.eye(32)[labels], k, y=labels)


def bench_leiden(name: str, graph: Data) -> list[dict[str, object]]:
    """A row for each contestant, the same seeds and the same two iterations for both libraries."""
    found: dict[str, list[float]] = {}

    def run(what: str, seed: int, **options: object) -> None:
        found.setdefault(what, []).append(float(modularity(graph, leiden(graph, seed=seed, **options))))

    def bare(seed: int) -> None:
        peer = igraph.Graph(graph.num_nodes, pairs, edge_attrs={"weight": weights})
        partition = leidenalg.find_partition(peer, leidenalg.ModularityVertexPartition, weights="weight", seed=seed)
        found.setdefault("leidenalg", []).append(partition.quality())

    once = graph.edge_index[0] < graph.edge_index[1]
    pairs, weights = graph.edge_index[:, once].T.tolist(), graph.edge_weight[once].double().tolist()
    seconds: dict[str, list[float]] = {}
    for seed in SEEDS:
        functions = {
            "graphmod, 2 iterations": lambda seed=seed: run("graphmod, 2 iterations", seed, num_iterations=2),
            "graphmod, until stable": lambda seed=seed: run("graphmod, until stable", seed),
            "of that, to igraph": lambda: _to_igraph(graph),
            "leidenalg": lambda seed=seed: bare(seed),
        }
        for what, times in interleaved(functions, 1).items():
            seconds.setdefault(what, []).extend(times)
    q = {what: statistics.median(values) for what, values in found.items()}
    for what in ("graphmod, 2 iterations", "graphmod, until stable"):
        if q[what] < q["leidenalg"] - 1e-3:
            raise SystemExit(f"{name}: Q of {what} is {q[what]:.4f}, of leidenalg {q['leidenalg']:.4f}")
    peer = statistics.median(seconds["leidenalg"])
    return [
        {
            "graph": name, "edges": int(once.sum()), "what": what, "seconds": f"{statistics.median(times):.3f}",
            "times as fast": f"{peer / statistics.median(times):.1f}" if what in q else "",
            "Q": f"{q[what]:.4f}" if what in q else "",
        }
        for what, times in seconds.items()
    ]  # fmt: skip


def bench_modularity(num_edges: int, repeats: int) -> list[dict[str, object]]:
    """Modularity of ten classes on a random graph, against igraph with and without building its graph."""
    generator = torch.Generator().manual_seed(0)
    n = num_edges // 10
    pairs = torch.randint(n, (2, num_edges), generator=generator).sort(dim=0).values
    pairs = pairs[:, (pairs[0] * n + pairs[1]).argsort()].contiguous()
    weight, labels = torch.rand(num_edges, generator=generator).double(), torch.arange(n) % 10
    pairs, weight = pairs[:, pairs[0] < pairs[1]], weight[pairs[0] < pairs[1]]
    graph = Data(edge_index=pairs, edge_weight=weight, num_nodes=n)
    edges, weights, classes = list(zip(*pairs.tolist(), strict=True)), weight.tolist(), labels.tolist()
    built = igraph.Graph(n, edges, edge_attrs={"weight": weights})
    if abs(built.modularity(classes, weights="weight") - float(modularity(graph, labels))) > 1e-9:
        raise SystemExit("modularity is not igraph's; no time is worth taking")

    def whole() -> float:
        return igraph.Graph(n, edges, edge_attrs={"weight": weights}).modularity(classes, weights="weight")

    functions = {
        "graphmod modularity": lambda: modularity(graph, labels),
        "igraph, prebuilt": lambda: built.modularity(classes, weights="weight"),
        "igraph, with building": whole,
    }
    median = {what: statistics.median(times) for what, times in interleaved(functions, repeats).items()}
    return [
        {
            "graph": "random, 10 classes", "edges": len(weights), "what": what, "seconds": f"{value:.3f}",
            "times as fast": f"{median['igraph, prebuilt'] / value:.2f}", "Q": "",
        }
        for what, value in median.items()
    ]  # fmt: skip


def main() -> None:
    """Runs the benchmark, prints its table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/communities.md"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    rows = []
    for name, separation in (("separated clusters", 5.0), ("mixed clusters", 2.0)):
        rows += bench_leiden(f"{name}, N = 30,000, k = 10", clusters(30_000, separation, 10))
        print(pd.DataFrame(rows[-4:]).to_string(index=False), flush=True)
    rows += bench_modularity(5_000_000, options.repeats)
    print(pd.DataFrame(rows[-3:]).to_string(index=False), flush=True)
    how = (
        f"medians of {len(SEEDS)} seeds (Leiden, two iterations unless said otherwise; speed against "
        f"leidenalg) and of {options.repeats} repeats (modularity; speed against igraph on a prebuilt graph);"
    )
    write(options.out, "Communities and modularity", how, pd.DataFrame(rows))


if __name__ == "__main__":
    main()
