"""What several test files need: real data where it stands beside the checkout, and small things of each kind."""

import tarfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor

settings.register_profile("graphmod", deadline=None)  # a busy machine is not a failure
settings.load_profile("graphmod")

SHARED = Path(__file__).resolve().parents[2] / "shared/data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Trained networks and real images beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder shared/data beside the checkout: trained ResNets and a CIFAR-10 subset")
    return SHARED


@pytest.fixture(scope="session")
def cifar(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of original CIFAR-10 images, `<split>/<class>/<number>.png`: 5,085 to train, 1,017 to test."""
    folder = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(shared / "cifar10-raw-subset.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def clusters() -> tuple[Tensor, Tensor]:
    """Sixty points in three planted clusters, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    return torch.eye(3)[labels].repeat(1, 4) + 0.1 * torch.rand(60, 12, generator=generator), labels
