import math
from copy import deepcopy
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graphmod.attacks.pgd import pgd
from graphmod.inputs import predictions
from graphmod.models import build
from graphmod.training import accuracy, train


@pytest.fixture
def problem() -> tuple[Tensor, Tensor]:
    images = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return images, (images[:, 0, :, :4].mean((1, 2)) > images[:, 0, :, 4:].mean((1, 2))).long()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))


def test_learns_and_reports(problem) -> None:
    model = network()
    rows = list(train(model, *problem, epochs=30, batch_size=30, test=problem))
    assert [row["epoch"] for row in rows] == list(range(1, 31))
    assert rows[0]["lr"] == 0.1
    assert rows[-1]["lr"] < 0.001
    assert rows[-1]["loss"] < rows[0]["loss"] / 3
    assert rows[-1]["test_accuracy"] == accuracy(model, *problem) > 0.97
    assert not model.training


def test_a_run_that_was_stopped_ends_with_the_same_weights(problem, tmp_path: Path) -> None:
    options = {"epochs": 6, "batch_size": 50, "augment": 1, "flip": True, "seed": 3}
    whole, stopped, resumed = network(), network(), network()
    expected = list(train(whole, *problem, **options))
    checkpoint = tmp_path / "run.ckpt"
    for row in train(stopped, *problem, checkpoint=checkpoint, **options):
        if row["epoch"] == 3:
            break
    assert list(train(resumed, *problem, checkpoint=checkpoint, **options)) == expected
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    again = network()
    assert list(train(again, *problem, checkpoint=checkpoint, **options)) == expected
    assert torch.equal(again[1].weight, whole[1].weight)


def test_wrong_checkpoints(problem, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.ckpt"
    list(train(network(), *problem, epochs=1, checkpoint=checkpoint))
    with pytest.raises(ValueError, match="is of another run, with {'epochs': 1}; remove it to start anew"):
        list(train(network(), *problem, epochs=2, checkpoint=checkpoint))
    torch.save([1], checkpoint)
    with pytest.raises(ValueError, match="is not a checkpoint of a training; remove it to start anew"):
        list(train(network(), *problem, epochs=1, checkpoint=checkpoint))
    checkpoint.write_text("hello")
    with pytest.raises(ValueError, match="is not a PyTorch file of plain tensors; nothing in it was run"):
        list(train(network(), *problem, epochs=1, checkpoint=checkpoint))


def test_a_loss_that_is_lost_ends_the_run(problem) -> None:
    with pytest.raises(ValueError, match="the loss is nan after epoch 1; lower lr"):
        list(train(network(), problem[0] * torch.nan, problem[1], epochs=2))


def test_augmentation_shifts_and_mirrors() -> None:
    from graphmod._augmentation import augmented

    images = torch.arange(1.0, 65).view(1, 1, 8, 8).repeat(200, 1, 1, 1)
    found = augmented(images, 2, True, torch.Generator().manual_seed(0))
    assert found.shape == images.shape
    padded = nn.functional.pad(images[:1], (2,) * 4)
    crops = [padded[..., i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
    possible = torch.cat(crops + [crop.flip(-1) for crop in crops])
    matches = (found[:, None] == possible[None]).flatten(2).all(2)
    assert matches.any(1).all()
    assert matches.any(0).sum() > 40  # nearly every one of the fifty comes up


def test_a_cifar_network_trains_from_scratch() -> None:
    images, labels = torch.rand(64, 3, 32, 32), torch.arange(64) % 2
    images[labels == 1] *= 0.5
    torch.manual_seed(0)
    rows = list(train(build("resnet20", num_classes=2), images, labels, epochs=3, batch_size=16, lr=0.02, augment=4))
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_one_step_with_a_teacher_by_hand() -> None:
    """(1 − α) · cross-entropy + α T² Σ p log(p / q) with p, q softened by T, written out; Nesterov's first step."""
    x, y = torch.tensor([[1.0, -2.0], [0.5, 1.5]]), torch.tensor([0, 1])
    teacher, student = nn.Linear(2, 2), nn.Linear(2, 2)
    start, kept = student.weight.detach().clone(), teacher.weight.detach().clone()
    alpha, temperature, lr, momentum = 0.3, 2.5, 0.1, 0.9
    logits, wanted = student(x), teacher(x).detach()
    q, p = (logits / temperature).softmax(1), (wanted / temperature).softmax(1)
    cross_entropy = -logits.softmax(1)[[0, 1], y].log().mean()
    loss = (1 - alpha) * cross_entropy + alpha * temperature**2 * (p * (p / q).log()).sum() / 2
    (gradient,) = torch.autograd.grad(loss, student.weight)
    options = {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "teacher_weight": alpha, "temperature": temperature}
    (row,) = train(student, x, y, epochs=1, batch_size=2, teacher=teacher.train(), **options)
    torch.testing.assert_close(student.weight.detach(), start - lr * (1 + momentum) * gradient)
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert torch.equal(teacher.weight, kept)
    assert teacher.training


def test_a_teacher_without_weight_says_nothing(problem) -> None:
    plain, taught = network(), network()
    list(train(plain, *problem, epochs=2))
    list(train(taught, *problem, epochs=2, teacher=network(), teacher_weight=0.0))
    assert torch.equal(plain[1].weight, taught[1].weight)


def test_a_student_comes_to_agree_with_its_teacher(problem) -> None:
    torch.manual_seed(5)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    wanted = teacher(problem[0]).argmax(1)
    student, alone = network(), network()
    options = {"epochs": 30, "batch_size": 30}
    list(train(student, problem[0], 1 - problem[1], teacher=teacher, teacher_weight=1.0, **options))
    list(train(alone, problem[0], 1 - problem[1], **options))
    assert accuracy(student, problem[0], wanted) > 0.85 > 0.6 > accuracy(alone, problem[0], wanted)


def test_without_momentum_a_step_is_the_gradient() -> None:
    x, y, model = torch.tensor([[1.0, -2.0], [0.5, 1.5]]), torch.tensor([0, 1]), nn.Linear(2, 2)
    start = model.weight.detach().clone()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), model.weight)
    list(train(model, x, y, epochs=1, momentum=0.0, weight_decay=0.0))
    torch.testing.assert_close(model.weight.detach(), start - 0.1 * gradient)


def test_milestones_are_the_published_schedule(problem) -> None:
    rows = list(train(network(), *problem, epochs=6, lr=0.01, milestones=(2, 4), batch_size=120))
    assert [round(row["lr"], 6) for row in rows] == [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]


def test_the_learning_rate_rises_first(problem) -> None:
    options = {"epochs": 6, "lr": 0.3, "batch_size": 120, "warmup": 2}
    rows = list(train(network(), *problem, milestones=(4,), **options))
    assert [row["lr"] for row in rows] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.03, 0.03])
    rows = list(train(network(), *problem, **options))
    cosine = [0.15 * (1 + math.cos(math.pi * done / 6)) for done in range(6)]
    assert [row["lr"] for row in rows] == pytest.approx([cosine[0] / 3, cosine[1] * 2 / 3, *cosine[2:]])


def test_bytes_train_as_their_share_of_255(problem) -> None:
    pixels = (problem[0] * 255).byte()
    options = {"epochs": 3, "augment": 2, "flip": True, "seed": 1}
    one, other = network(), network()
    rows = list(train(one, pixels, problem[1], held_out=(pixels, problem[1]), **options))
    assert list(train(other, pixels / 255, problem[1], held_out=(pixels / 255, problem[1]), **options)) == rows
    assert torch.equal(one[1].weight, other[1].weight)
    assert accuracy(one, pixels, problem[1]) == accuracy(one, pixels / 255, problem[1])


def test_accuracy_wants_a_label_for_each_image() -> None:
    with pytest.raises(ValueError, match=r"labels must have shape \[2\], one for each image; got \[1\]"):
        accuracy(nn.Identity(), torch.eye(2), torch.tensor([0]))


def test_labels_of_other_types_and_of_no_class(problem) -> None:
    x, y = problem
    rows = [list(train(network(), x, labels, epochs=1)) for labels in (y, y.int(), y.to(torch.uint8))]
    assert rows[0] == rows[1] == rows[2]
    with pytest.raises(TypeError, match="labels must be integers, the numbers of the classes; got torch.float32"):
        list(train(network(), x, y.float(), epochs=1))
    for labels, found in ((y + 1, "1 to 2"), (y - 100, "-100 to -99")):  # cross_entropy would pass over -100
        with pytest.raises(ValueError, match=f"labels must be numbers of 2 classes; got {found}"):
            list(train(network(), x, labels, epochs=1))


def test_a_network_is_in_evaluation_mode_after_an_interrupt(problem) -> None:
    def interrupt(_module: nn.Module, _inputs: object) -> None:
        if _module.training:
            raise KeyboardInterrupt

    model = network()
    model[4].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(train(model, *problem, epochs=1))
    assert not any(module.training for module in model.modules())


def test_accuracy_leaves_a_network_in_training_as_it_was(problem) -> None:
    model = nn.Sequential(network(), nn.Dropout(0.9))
    model[0][1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    assert accuracy(model, *problem) == accuracy(model, *problem)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert accuracy(model, *problem) == accuracy(model.eval(), *problem)


def test_the_loss_of_bfloat16_is_taken_in_float32() -> None:
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 3), torch.randn(6, 4), torch.arange(6) % 3
    rounded = [part.detach().bfloat16() for part in (x, model.weight, model.bias)]
    expected = nn.functional.cross_entropy(nn.functional.linear(*rounded).float(), y)
    (row,) = train(model, x, y, epochs=1, batch_size=6, precision="bfloat16")
    assert row["loss"] == pytest.approx(expected.item(), rel=1e-6)
    assert model.weight.grad.dtype == torch.float32


def test_bfloat16_learns_and_resumes_bit_for_bit(problem, tmp_path: Path) -> None:
    options = {"epochs": 8, "batch_size": 30, "precision": "bfloat16"}
    whole, stopped, resumed, plain = network(), network(), network(), network()
    rows = list(train(whole, *problem, **options))
    assert accuracy(whole, *problem) > 0.9
    assert whole[1].weight.dtype == torch.float32
    list(train(plain, *problem, **{**options, "precision": "float32"}))
    assert not torch.equal(plain[1].weight, whole[1].weight)
    for row in train(stopped, *problem, checkpoint=tmp_path / "run", **options):
        if row["epoch"] == 5:
            break
    assert list(train(resumed, *problem, checkpoint=tmp_path / "run", **options)) == rows
    assert torch.equal(resumed[1].weight, whole[1].weight)


def test_channels_last_trains_the_same_network() -> None:
    images, labels = torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
    plain, last = build("resnet20", num_classes=2), build("resnet20", num_classes=2)
    one = list(train(plain, images, labels, epochs=1, lr=0.01, batch_size=16))
    other = list(train(last, images, labels, epochs=1, lr=0.01, batch_size=16, channels_last=True))
    assert other[0]["loss"] == pytest.approx(one[0]["loss"], rel=1e-4)
    assert last.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_run_with_all_options_resumes_bit_for_bit(tmp_path: Path) -> None:
    images, labels = torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
    options = {
        "epochs": 4, "batch_size": 16, "lr": 0.02, "milestones": (2, 3), "warmup": 1, "augment": 2, "flip": True,
        "teacher": build("resnet20", num_classes=2, seed=1), "precision": "bfloat16", "channels_last": True,
        "held_out": (images, labels),
    }  # fmt: skip
    whole, stopped, resumed = (build("resnet20", num_classes=2) for _ in range(3))
    expected = list(train(whole, images, labels, **options))
    for row in train(stopped, images, labels, checkpoint=tmp_path / "run", **options):
        if row["epoch"] == 2:
            break
    assert list(train(resumed, images, labels, checkpoint=tmp_path / "run", **options)) == expected
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert resumed.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    for changed in (
        {"teacher": build("resnet20", num_classes=2, seed=2)}, {"teacher": None}, {"teacher_weight": 0.4},
        {"temperature": 2.0}, {"precision": "float32"}, {"channels_last": False}, {"milestones": (2,)}, {"warmup": 0},
        {"held_out": None},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is of another run"):
            list(train(resumed, images, labels, checkpoint=tmp_path / "run", **{**options, **changed}))


def test_dropout_is_seeded_and_a_run_that_drops_out_resumes_bit_for_bit(problem, tmp_path: Path) -> None:
    def dropping() -> nn.Module:
        return nn.Sequential(network(), nn.Dropout(0.5))

    whole, other, stopped, resumed = (dropping() for _ in range(4))
    expected = list(train(whole, *problem, epochs=4))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    rows = train(stopped, *problem, epochs=4, checkpoint=tmp_path / "run")
    next(rows)
    next(rows)
    rows.close()
    assert torch.equal(torch.get_rng_state(), state)
    assert list(train(resumed, *problem, epochs=4, checkpoint=tmp_path / "run")) == expected
    assert torch.equal(resumed[0][1].weight, whole[0][1].weight)
    losses = [row["loss"] for row in train(other, *problem, epochs=4, seed=1)]
    assert losses != [row["loss"] for row in expected]


def test_a_checkpoint_is_not_taken_up_with_other_data_or_another_start(problem, tmp_path: Path) -> None:
    x, y = problem
    options = {"epochs": 3, "held_out": (x[:9], y[:9]), "test": (x[9:], y[9:])}
    model, again = network(), network()
    rows = train(model, x, y, checkpoint=tmp_path / "run", **options)
    next(rows)
    rows.close()
    started = network()
    started[1].weight.data[0, 0] += 1
    for one, images, labels, changed in (
        (network(), 1 - x, y, {}), (network(), x, 1 - y, {}), (started, x, y, {}),
        (network(), x, y, {"held_out": (x[:9], 1 - y[:9])}), (network(), x, y, {"test": (1 - x[9:], y[9:])}),
        (network(), x, y, {"test": None}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is of another run, with {.*}; remove it to start anew"):
            list(train(one, images, labels, checkpoint=tmp_path / "run", **{**options, **changed}))
    expected = list(train(network(), x, y, **options))
    for one in (model, again, model, network()):  # the model that was stopped, too, and one that is done
        assert list(train(one, x, y, checkpoint=tmp_path / "run", **options)) == expected


def test_a_teacher_is_asked_in_evaluation_mode_on_what_the_student_sees(problem) -> None:
    """The student has the teacher's weights: their logits agree on each augmented batch, and there is nothing to learn."""

    class Asked(nn.Linear):
        seen: ClassVar[list[Tensor]] = []  # of all copies

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(x.detach())
            return super().forward(x)

    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), Asked(64, 2))
    student = nn.Sequential(nn.Flatten(), nn.Dropout(0.0), Asked(64, 2))
    student.load_state_dict(teacher.state_dict())
    options = {"batch_size": 40, "augment": 2, "flip": True, "weight_decay": 0.0, "teacher_weight": 1.0}
    (row,) = train(student, *problem, epochs=1, teacher=teacher, **options)
    assert row["loss"] == pytest.approx(0, abs=1e-6)
    assert len(Asked.seen) == 6
    assert all(torch.equal(a, b) for a, b in zip(Asked.seen[::2], Asked.seen[1::2], strict=True))
    torch.testing.assert_close(student[2].weight, teacher[2].weight)
    assert all(module.training for module in teacher.modules())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_network_can_be_taught_by_what_it_was(problem) -> None:
    model, same = network(), network()
    rows = list(train(model, *problem, epochs=3, teacher=model))
    assert rows == list(train(same, *problem, epochs=3, teacher=network()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_trains_the_same_network(problem, precision: str) -> None:
    pixels, options = (problem[0] * 255).byte(), {"epochs": 2, "lr": 0.01, "augment": 2, "flip": True}
    rows = list(train(network(), pixels, problem[1], precision=precision, teacher=network(), **options))
    found = list(train(network().cuda(), pixels, problem[1], precision=precision, teacher=network(), **options))
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in rows], rel=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_cuda_graph_trains_the_same_network(precision: str) -> None:
    """Batches of 50, 50 and 20: two are replayed and the last one is not; stopped and resumed in between."""
    images = torch.rand(120, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = (images[:, 0].mean((1, 2)) > images[:, 1].mean((1, 2))).long()
    options = {"epochs": 4, "batch_size": 50, "lr": 0.01, "augment": 2, "flip": True, "precision": precision,
               "channels_last": True, "teacher": build("resnet20", num_classes=2, seed=1)}  # fmt: skip
    plain, graphed = (build("resnet20", num_classes=2, device="cuda") for _ in range(2))
    rows = list(train(plain, images, labels, **options))
    found = list(train(graphed, images, labels, cuda_graph=True, **options))
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in rows], rel=0.02)
    assert graphed.bn1.num_batches_tracked == plain.bn1.num_batches_tracked == 12
    torch.testing.assert_close(graphed.bn1.running_mean, plain.bn1.running_mean, rtol=0.02, atol=0.005)
    assert not torch.equal(graphed.conv1.weight, build("resnet20", num_classes=2, device="cuda").conv1.weight)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_draws_the_dropout_of_its_seed(problem, tmp_path: Path) -> None:
    def dropping() -> nn.Module:
        return nn.Sequential(network(), nn.Dropout(0.5)).cuda()

    options = {"epochs": 4, "batch_size": 50, "lr": 0.01, "cuda_graph": True}
    rows = list(train(dropping(), *problem, **options))
    state = torch.cuda.get_rng_state()
    stopped = train(dropping(), *problem, checkpoint=tmp_path / "run", **options)
    next(stopped)
    next(stopped)
    stopped.close()
    assert torch.equal(torch.cuda.get_rng_state(), state)
    found = list(train(dropping(), *problem, checkpoint=tmp_path / "run", **options))
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in rows], rel=1e-4)
    other = list(train(dropping(), *problem, **options, seed=1))
    assert [row["loss"] for row in other] != pytest.approx([row["loss"] for row in rows], rel=1e-3)


def test_a_cuda_graph_needs_a_gpu(problem) -> None:
    with pytest.raises(ValueError, match="cuda_graph needs a model on a GPU; it is on cpu"):
        list(train(network(), *problem, epochs=1, cuda_graph=True))


def test_held_out_images_stand_beside_the_test_images(problem) -> None:
    model, (x, y) = network(), problem
    rows = list(train(model, x, y, epochs=2, held_out=(x[:30], y[:30]), test=(x[30:], y[30:])))
    assert rows[-1]["held_out_accuracy"] == accuracy(model, x[:30], y[:30])
    assert rows[-1]["test_accuracy"] == accuracy(model, x[30:], y[30:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"teacher_weight": 1.5},
            "teacher_weight must be in .0, 1. and temperature above 0 and finite; got 1.5 and 4.0",
        ),
        ({"temperature": 0.0}, "temperature above 0 and finite; got 0.5 and 0.0"),
        ({"temperature": math.inf}, "temperature above 0 and finite; got 0.5 and inf"),
        ({"precision": "float16"}, "precision must be float32 or bfloat16; got 'float16'"),
        ({"milestones": (2, 2)}, r"milestones must rise from 1 on and be less than epochs, 4; got \[2, 2\]"),
        ({"milestones": (0,)}, r"milestones must rise .*; got \[0\]"),
        ({"milestones": (1, 4)}, r"milestones must rise .*; got \[1, 4\]"),
        ({"epochs": -1}, "epochs must be at least 0 and batch_size at least 1; got -1 and 120"),
        ({"batch_size": 0}, "epochs must be at least 0 and batch_size at least 1; got 4 and 0"),
        ({"warmup": 4}, "warmup must be at least 0 and less than epochs, 4; got 4"),
        ({"warmup": -1}, "warmup must be at least 0 and less than epochs, 4; got -1"),
        ({"labels": torch.zeros(7).long()}, r"labels must have shape \[120\], one for each image; got \[7\]"),
        (
            {"held_out": (torch.rand(9, 1, 8, 8), torch.zeros(9, 1).long())},
            r"labels must have shape \[9\], .*; got \[9, 1\]",
        ),
        (
            {"teacher": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))},
            r"must give logits \[120, 2\], .*; got \[120, 3\]",
        ),
    ],
)
def test_refusals(problem, options: dict, message: str) -> None:
    model = network()
    with pytest.raises(ValueError, match=message):
        list(train(model, **{"images": problem[0], "labels": problem[1], "epochs": 4, "batch_size": 120, **options}))
    assert torch.equal(model[1].weight, network()[1].weight)


@pytest.mark.parametrize("option", ["augment", "flip", "channels_last"])
def test_what_needs_a_plane_refuses_vectors(problem, option: str) -> None:
    with pytest.raises(ValueError, match=r"channels_last need images \[N, C, H, W\]; got \[120, 64\]"):
        list(train(network(), problem[0].flatten(1), problem[1], epochs=1, **{option: 1}))


def test_what_is_done_to_a_row_is_not_done_to_the_checkpoint(tmp_path: Path) -> None:
    x, y, path = torch.rand(32, 4), torch.arange(32) % 2, tmp_path / "run.pt"
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    plain = list(train(deepcopy(model), x, y, epochs=3))
    for _ in range(2):  # the second time all rows come from the checkpoint
        for row in train(deepcopy(model), x, y, epochs=3, checkpoint=path):
            row["network"] = "small"
            del row["loss"]
    assert list(train(deepcopy(model), x, y, epochs=3, checkpoint=path)) == plain


def test_no_images_and_a_folder_for_a_checkpoint(tmp_path: Path) -> None:
    x, y, model = torch.rand(8, 4), torch.arange(8) % 2, nn.Linear(4, 2)
    with pytest.raises(ValueError, match="images must hold at least one image; got none"):
        next(train(model, x[:0], y[:0], epochs=1))
    with pytest.raises(IsADirectoryError, match="is a folder; name a file to keep the run in"):
        next(train(model, x, y, epochs=1, checkpoint=tmp_path))


class Output(nn.Module):
    """Gives its logits in a dict, as networks of Hugging Face do."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.network(x)}


def test_networks_that_give_a_dict_and_networks_of_halves(problem) -> None:
    x, y = problem
    net = Output().eval()
    net(x[:2])
    assert len(list(train(net, x, y, epochs=1, teacher=net))) == 1
    assert accuracy(net, x, y) == accuracy(net.network, x, y)
    assert torch.equal(pgd(net, x[:4], y[:4], eps=0.1), pgd(net.network, x[:4], y[:4], eps=0.1))
    assert torch.equal(predictions(net, x), predictions(net.network, x))
    halves = net.bfloat16()
    assert 0 <= accuracy(halves, x, y) <= 1
    assert pgd(halves, x[:4], y[:4], eps=0.1).dtype == x.dtype


def test_a_last_batch_of_one_image_joins_the_one_before() -> None:
    x, y = torch.rand(9, 1, 4, 4), torch.arange(9) % 2
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2))
    assert len(list(train(net, x, y, epochs=1, batch_size=4))) == 1


def test_a_batch_of_one_by_choice_is_a_step(problem) -> None:
    x, y = problem
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    steps = []
    model.register_forward_hook(lambda module, inputs, _: steps.append(len(inputs[0])) if module.training else None)
    list(train(model, x[:5], y[:5], epochs=1, batch_size=1))
    assert steps == [1] * 5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_networks_and_teachers_of_other_types(problem, dtype: torch.dtype) -> None:
    teacher = network().to(dtype)
    assert len(list(train(network(), *problem, epochs=1, teacher=teacher))) == 1
    assert list(train(teacher, *problem, epochs=4, batch_size=30, lr=0.05))[-1]["train_accuracy"] > 0.6


def test_rates_that_are_none_and_weights_that_are_lost() -> None:
    x, y = torch.rand(20, 5), torch.arange(20) % 2
    for lr in (math.nan, math.inf, -1.0):
        with pytest.raises(ValueError, match=f"lr must be at least 0 and finite; got {lr}"):
            list(train(nn.Linear(5, 2), x, y, epochs=1, lr=lr))
    with pytest.raises(ValueError, match="weights are NaN or Inf after epoch 1; lower lr"):
        list(train(nn.Linear(5, 2), 1e4 * x, y, epochs=1, lr=1e38))


def test_settings_of_numpy_can_be_resumed(problem, tmp_path: Path) -> None:
    options = {"epochs": np.int64(3), "lr": np.float64(0.05), "milestones": [np.int64(1)], "seed": np.int64(1)}
    options |= {"batch_size": np.int32(30), "weight_decay": np.float32(0), "momentum": torch.tensor(0.5)}
    model = network()
    rows = train(model, *problem, checkpoint=tmp_path / "run", **options)
    first = next(rows)
    rows.close()
    assert next(train(network(), *problem, checkpoint=tmp_path / "run", **options)) == first
    for wrong, message in (
        ({"epochs": 2.5}, "settings that count must be whole numbers; epochs is 2.5"), ({"lr": "0.1"}, "settings must be numbers, not words; lr is '0.1'"),
        ({"milestones": [0.5]}, r"settings that count must be whole numbers; milestones\[0\] is 0.5"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=message):
            next(train(model, *problem, **{"epochs": 3} | wrong))


def test_accuracy_is_of_classifiers() -> None:
    class Words(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(x, 6).float()

    with pytest.raises(
        ValueError, match=r"a classifier must give logits \[N, C\], a row for each sample; got \[6, 4, 6\]"
    ):
        accuracy(Words(), torch.randint(0, 6, (6, 4)), torch.arange(6))
