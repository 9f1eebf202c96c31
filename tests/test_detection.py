"""Who lost its neighbours, and who is known by the company it keeps."""

import pytest
import torch
from torch import nn

from graphmod import dynamic_graph
from graphmod.detection import _company, attacked_and_bank, detection, lost_neighbors


def test_lost_and_won_neighbours_are_counted_where_they_are() -> None:
    y = torch.arange(40) % 2
    x = torch.eye(2)[y] + 0.01 * torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    moved = x.clone()
    moved[:2] = moved[:2].flip(1)  # a sample of each class changes sides
    layers = nn.Sequential(nn.Identity(), nn.Identity())
    clean, after = (dynamic_graph(layers, rows, y, "all") for rows in (x, moved))
    table, first = lost_neighbors(clean, after)
    assert table.lost.tolist() == [2 / 40, 2 / 40]
    assert table.won.tolist() == [0, 0]
    assert first == ["0"] * 2 + [None] * 38
    table, first = lost_neighbors(after, clean)
    assert table.won.tolist() == [2 / 40, 2 / 40]
    assert set(first) == {None}


def network_and_bank() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A network that looks at the first pixel alone, and images whose other pixels tell the class as well."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(160) % 2
    x = (0.2 + 0.6 * y[:, None] + 0.1 * torch.rand(160, 8, generator=generator)).view(160, 1, 2, 4)
    x[y == 0, :, :, ::2] += 0.3  # so that the direction tells the classes
    head = nn.Linear(8, 2)
    head.weight.data = torch.zeros(2, 8)
    head.weight.data[:, 0] = torch.tensor([-10.0, 10.0])
    head.bias.data = torch.tensor([6.5, -6.5])
    return nn.Sequential(nn.Flatten(), head), (x[:80], y[:80]), x[80:]


def test_a_bank_that_is_too_small_is_said_before_anything_is_attacked() -> None:
    x = torch.rand(30, 4)
    y = x.argmax(1)
    chosen, rest = attacked_and_bank(torch.nn.Identity(), x, y, 20, seed=1)
    assert sorted([*chosen.tolist(), *rest.tolist()]) == list(range(30))
    with pytest.raises(ValueError, match="detection needs k = 10 images in the bank and 4 others; got 6, 24"):
        attacked_and_bank(torch.nn.Identity(), x, y, 24)


def test_an_image_that_keeps_other_company_is_found() -> None:
    model, bank, x = network_and_bank()
    fooled = x.clone()
    fooled[:, 0, 0, 0] = 1.3 - x[:, 0, 0, 0]  # taken for the other class; the other seven pixels stay
    assert (model(x).argmax(1) != model(fooled).argmax(1)).all()
    table = detection(model, bank, x, {"fooled": fooled, "same": x}, layers=["0"], k=5).set_index("condition")
    assert table.auroc["fooled"] == 1
    assert table.best_auroc["fooled"] == 1
    assert table.best_layer["fooled"] == "0"
    assert table.auroc["same"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="detection needs k = 81 images in the bank and 4 others; got 80, 80"):
        detection(model, bank, x, {"fooled": fooled}, layers=["0"], k=81)


def test_neighbours_far_from_the_origin_are_those_of_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    bank, x = (3000 + torch.randn(n, 16, generator=generator) for n in (120, 40))
    y, model = torch.arange(120) % 3, torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(16, 3))
    names, shares = _company(model, (bank, y), [x[:15], x[15:]], ["0"], 10)
    rows = [torch.nn.functional.normalize(one.double(), dim=1) for one in (x, bank)]
    nearest = (rows[0] @ rows[1].T).argsort(dim=1, descending=True)[:, :10]
    expected = (y[nearest] == model(x).argmax(1)[:, None]).double().mean(1)
    assert names == ["0"]
    assert list(map(len, shares)) == [15, 25]
    torch.testing.assert_close(torch.cat(shares)[:, 0], expected)


def test_bytes_beside_numbers_are_pixels() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3))
    images = torch.randint(0, 256, (120, 3, 2, 2), dtype=torch.uint8)
    y, moved = torch.arange(80) % 3, torch.rand(40, 3, 2, 2)
    found = [detection(model, (x[:80], y), x[80:], {"moved": moved}, layers=["1", "3"]) for x in (images, images / 255)]
    assert found[0].equals(found[1])
