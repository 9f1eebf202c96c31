"""Processes that share the work find the same edges, bit for bit, and none waits for one that has died."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from graphmod import distributed
from graphmod.manifest import verify

WORKER = """
import sys, torch, torch.distributed as dist
torch.set_num_threads(1)
from graphmod import dynamic_graph
from graphmod.distributed import *
from graphmod.graphs._topk import nearest_neighbors
rank, size, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method="file://" + place + "/store", rank=rank, world_size=size)

def hard(kind, n, d=37):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    if kind == "copies":
        x = x[torch.arange(n) // 40]
    elif kind == "zeros":
        x[::3] = 0
    elif kind == "sorted by class":
        x = (x + 5 * torch.randn(10, d, generator=generator).repeat_interleave(-(-n // 10), 0)[:n]).relu()
    elif kind == "half":
        x = x.half()
    elif kind == "strided":
        x = torch.randn(d, n, generator=generator).T
    return x

def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))

for kind in ("gaussian", "copies", "zeros", "sorted by class", "half", "strided"):
    for n, k in ((size, size - 1), (13, 4), (1501, 15)):
        if k < 1 or (kind == "copies" and n < 100):
            continue
        x = hard(kind, n)
        for metric in ("cosine", "euclidean"):
            expected = nearest_neighbors(x, k, metric=metric)
            with shared_work():
                assert same(nearest_neighbors(x, k, metric=metric), expected), (kind, n, k, metric)
bounds = []
with shared_work():
    assert world() == (rank, size)
    part = own_rows(13)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.float64):
        x = torch.arange(26).view(13, 2).to(dtype)
        assert torch.equal(all_rows(x[part], 13), x)
    assert all_parts(torch.full((rank,), rank)).tolist() == [r for r in range(size) for _ in range(r)]
    assert maximum_of_all(torch.tensor([rank])).item() == size - 1
    assert agreed(["from", rank]) == ["from", 0]
    try:
        own_rows(size - 1)
        raise SystemExit("nothing was said")
    except ValueError as error:
        assert "cannot be shared out" in str(error)

model = torch.nn.Sequential(torch.nn.Linear(6, 20), torch.nn.ReLU(), torch.nn.Linear(20, 5))
for parameter in model.parameters():
    dist.broadcast(parameter.data, 0)
x, y = hard("gaussian", 60, 6), torch.arange(60) % 3
alone = dynamic_graph(model, x, y, "all", batch_size=10)
with shared_work():
    together = dynamic_graph(model, x, y, "all", batch_size=10)
for layer in alone:
    assert torch.equal(alone[layer].edge_index, together[layer].edge_index)
    torch.testing.assert_close(alone[layer].edge_weight, together[layer].edge_weight)
dist.destroy_process_group()
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
STUDY = ["-m", "analyses.modularity_curve", "--layers", "all", "--num-samples", "100", "--repeats", "3"]
LONG_STUDY = [*STUDY[:4], "--num-samples", "20", "--repeats", "20", "--k", "1"]


@pytest.mark.parametrize("size", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_the_same_neighbors_bit_for_bit(size: int, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", WORKER]
    started = [
        subprocess.Popen([*command, str(rank), str(size), str(tmp_path)], stderr=subprocess.PIPE, env=ENVIRONMENT)
        for rank in range(size)
    ]
    ended = [(process.communicate(timeout=300)[1].decode(), process.returncode) for process in started]
    assert [status for _, status in ended] == [0] * size, "".join(message for message, _ in ended)


def test_a_study_under_torchrun(tmp_path: Path) -> None:
    alone = subprocess.run([sys.executable, *STUDY, "--out", str(tmp_path / "alone")], env=ENVIRONMENT, check=True)
    ran = subprocess.run(
        [*TORCHRUN, *STUDY, "--out", str(tmp_path / "both")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert alone.returncode == ran.returncode == 0, ran.stderr
    assert ran.stdout.count("Table, figure, settings and graphs are in") == 1
    tables = [pd.read_csv(tmp_path / name / "table.csv") for name in ("alone", "both")]
    pd.testing.assert_frame_equal(*tables, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "both"]
    assert verify(tmp_path / "both") == []
    assert json.loads((tmp_path / "both/settings.json").read_text())["environment"]["processes"] == 2


def children(process: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


def wait_for_work(run: subprocess.Popen[str], kept: Path) -> None:
    deadline = time.monotonic() + 120
    while run.poll() is None and time.monotonic() < deadline and len(list(kept.glob("*-*"))) < 5:
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def test_a_process_says_that_another_one_died(tmp_path: Path) -> None:
    """Without torchrun, which tells the others to end as soon as one has, so that either may be the first they hear."""
    kept, place = tmp_path / ".study.finished", {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, *LONG_STUDY, "--out", str(tmp_path / "study")]
    first, second = (
        subprocess.Popen(
            command,
            env=ENVIRONMENT | place | {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    )
    try:
        wait_for_work(first, kept)
        second.kill()
        message = first.communicate(timeout=60)[1]
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert first.returncode == 2, message
    assert "error: another process of this run has ended" in message
    assert f"what was finished is kept in {kept}: it is not made again" in message
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_and_the_next_goes_on(tmp_path: Path) -> None:
    command, kept = [*TORCHRUN, *LONG_STUDY, "--out", str(tmp_path / "study")], tmp_path / ".study.finished"
    with subprocess.Popen(
        command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        wait_for_work(run, kept)
        os.kill(children(run.pid)[1], signal.SIGKILL)
        message = run.communicate(timeout=60)[1]
    assert run.returncode != 0, message
    assert not (tmp_path / "study").exists()
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("*-*")}
    assert len(before) >= 5
    subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True, timeout=300)
    assert verify(tmp_path / "study") == []
    assert not kept.exists()


def test_other_studies_say_that_they_run_alone(tmp_path: Path) -> None:
    command = [*TORCHRUN, "-m", "analyses.train", "--epochs", "1", "--out", str(tmp_path / "study")]
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert ran.returncode != 0
    assert "error: this study runs in one process; start it by python instead of torchrun" in ran.stderr
    assert not (tmp_path / "study").exists()


def test_too_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: (0, 9))
    with pytest.raises(ValueError, match="5 samples cannot be shared out to 9 processes; start fewer of them"):
        distributed.own_rows(5)


def test_a_process_alone_is_a_world_of_one() -> None:
    x = torch.rand(5, 2)
    assert distributed.world() == (0, 1)
    assert distributed.own_rows(5) == slice(0, 5)
    for function in (distributed.all_parts, distributed.maximum_of_all, distributed.agreed):
        assert function(x) is x
    assert distributed.all_rows(x, 5) is x
    with distributed.processes_of_torchrun():
        assert distributed.world() == (0, 1)
    with (
        pytest.raises(RuntimeError, match="shared_work needs processes: run under torchrun"),
        distributed.shared_work(),
    ):
        pass
