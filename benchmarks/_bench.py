"""What every benchmark does: time contestants side by side, and write one table with the machine named."""

import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import torch


def interleaved(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Returns the seconds that each function took in each of the repeats, in which all take their turn."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def card(device: torch.device) -> str:
    """Returns the name of a graphics card and how it computes."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return (
        f"{torch.cuda.get_device_name(device)} (torch's defaults: cudnn.benchmark {cudnn.benchmark}, TF32 in "
        f"convolutions {cudnn.allow_tf32}, in matrix products {matmul.allow_tf32})"
    )


def write(path: Path, title: str, how: str, table: pd.DataFrame, device: torch.device | None = None) -> None:
    """Writes a table as Markdown, with the command, the threads, the versions, the machine and its graphics card."""
    options = [re.sub("[^:]*/", "", one) for one in sys.argv[1:]]  # files and folders by their names
    command = " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *options]) if options else "make bench"
    facts = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    cpu = next((line.split(":")[1].strip() for line in facts if "model name" in line), "")
    machine = f"{cpu or platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"
    machine = f"{card(device)}, beside {machine}" if device is not None and device.type == "cuda" else machine
    lines = [" | ".join(map(str, row)) for row in [table.columns, ["---"] * table.shape[1], *table.to_numpy()]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# {title}\n\n`{command}`: {how} {torch.get_num_threads()} threads, torch {torch.__version__}, {machine}.\n\n"
        + "\n".join(f"| {line} |" for line in lines)
        + "\n"
    )
    print(f"\nwritten to {path}")
