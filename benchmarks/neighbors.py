"""Exact cosine neighbours against what else computes them, in one process, interleaved; medians of the repeats.

    make bench
    python benchmarks/neighbors.py --device cuda

Every contestant gets the same float32 features and the same threads. Before any time is taken, the edge set is checked
against float64 throughout on the CPU. `torch.mm(x, x.T)` alone, without any selection, is the measure of the machine.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from _bench import interleaved, write
from torch import Tensor

from graphmod.graphs import _topk
from graphmod.graphs._topk import nearest_neighbors

WORKLOADS = [("gaussian", 5_000, 4_096, 15), ("relu", 5_000, 4_096, 15), ("relu", 20_000, 512, 15)]


def features(kind: str, n: int, d: int) -> Tensor:
    """Gaussian noise; or a hundred classes of rectified noise, nearer to what a layer gives."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    if kind == "relu":
        centres = torch.randn(100, d, generator=generator)
        x = (x + centres[torch.randint(100, (n,), generator=generator)]).relu()
    return x


def contestants(x: Tensor, k: int) -> dict[str, Callable[[], object]]:
    """The functions to be timed, by name; a peer that is not installed is left out."""
    found: dict[str, Callable[[], object]] = {
        "graphmod": lambda: nearest_neighbors(x, k),
        "torch.mm alone": lambda: torch.mm(x, x.T),
        "float64 throughout": lambda: _topk._search_cosine(x, x.double().norm(dim=1), k),
        "float32 product, topk": lambda: torch.mm(u := torch.nn.functional.normalize(x), u.T).topk(k + 1),
    }
    if x.is_cuda:  # on which graphmod is in float64 throughout, and the peers do not run
        del found["float64 throughout"]
        return {name: partial(finished, function) for name, function in found.items()}
    from sklearn.neighbors import NearestNeighbors

    found["scikit-learn"] = lambda: (
        NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(x.numpy()).kneighbors()
    )
    try:
        import faiss
    except ImportError:
        return found
    faiss.omp_set_num_threads(torch.get_num_threads())
    rows = torch.nn.functional.normalize(x).numpy()

    def flat() -> object:
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        return index.search(rows, k + 1)

    found["faiss, flat inner product"] = flat
    return found


def finished(function: Callable[[], object]) -> None:
    """Calls a function and waits for the card."""
    function()
    torch.cuda.synchronize()


def main() -> None:
    """Runs the benchmark, prints its table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, help="benchmarks/results/neighbors.md, or neighbors_gpu.md, unless given")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    rows = []
    for kind, n, d, k in WORKLOADS:
        x = features(kind, n, d)
        plain = _topk._search_cosine(x, x.double().norm(dim=1), k)
        x = x.to(options.device)
        if not torch.equal(nearest_neighbors(x, k)[1].cpu(), plain[1]):
            raise SystemExit(f"{kind} {n} x {d}: the edge set is not that of float64; no time is worth taking")
        seconds = interleaved(contestants(x, k), options.repeats)
        median = {name: statistics.median(times) for name, times in seconds.items()}
        rate = 2 * n * n * d / median["torch.mm alone"] / 1e9
        for name, value in median.items():
            ratio = f"{value / median['torch.mm alone']:.2f}"
            row = {"features": kind, "N": n, "D": d, "k": k, "what": name, "seconds": f"{value:.3g}"}
            rows.append(row | {"of torch.mm": ratio, "torch.mm GFLOP/s": f"{rate:.0f}"})
        print(pd.DataFrame(rows[-len(median) :]).to_string(index=False), flush=True)

    how = f"medians of {options.repeats}; the edge set of graphmod equals that of float64 throughout on every workload;"
    out = options.out or Path("benchmarks/results") / f"neighbors{'_gpu' * (options.device.type == 'cuda')}.md"
    write(out, "Exact cosine neighbours", how, pd.DataFrame(rows), options.device)


if __name__ == "__main__":
    main()
