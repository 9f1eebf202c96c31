"""Every criterion against what it says of a network whose layers are known: some do nothing, some do harm."""

from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import pairwise

import networkx as nx
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor, nn
from torch.nn.utils import prune

from graphmod._family import members
from graphmod._layers import stages
from graphmod.criteria import State, find_criterion
from graphmod.curves import modularity_curve
from graphmod.graphs.knn import knn_graph
from graphmod.metrics.modularity import modularity
from graphmod.models import build
from graphmod.pruning import plan_removal
from graphmod.surgery import drop_layers, removable_layers
from graphmod.training import accuracy

CRITERIA = members("graphmod.criteria")


class Rotate(nn.Module):
    """A residual step x + U x; with U = 0 it does nothing, with U = −1 it leaves nothing."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(len(matrix), len(matrix), bias=False)
        self.linear.weight.data = matrix

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_block_influence_in_any_type(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    steps = [Rotate(size * torch.randn(16, 16, generator=generator)) for size in (0.06, 0.05, 0.04, 0.03, 0.02, 0.01)]
    model = nn.Sequential(*steps, nn.Linear(16, 2)).eval().to(dtype)
    x = torch.randn(200, 16, generator=generator).to(dtype)
    plan = plan_removal(model, x, torch.arange(200) % 2, num_layers=1, criterion="block_influence")
    assert plan.layer[0] == "5"


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
def test_block_influence_of_a_layer_that_does_nothing(scale: float) -> None:
    x = scale * torch.rand(10, 4)
    x[::2] = 0
    model = nn.Sequential(Rotate(torch.zeros(4, 4)), nn.Linear(4, 2))
    found = find_criterion("block_influence")(State(model, model, x, torch.arange(10) % 2, ["0"], "0"))
    assert found["0"] == pytest.approx(0, abs=1e-12)


@pytest.fixture(scope="module")
def planted() -> tuple[nn.Module, Tensor, Tensor]:
    """Four clusters; layer 0 amplifies what tells them apart, layer 1 does nothing, layer 2 turns the plane of two others.

    Without layer 0 noise hides the clusters. Without layer 1 nothing changes.
    """
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 4
    x = torch.randn(120, 8, generator=generator)
    x[:, :4] = 0.8 * nn.functional.one_hot(y, 4) + 0.1 * x[:, :4]
    amplify = torch.diag(torch.tensor([9.0] * 4 + [0.0] * 4))
    turn = torch.zeros(8, 8)
    turn[4:6, 4:6] = torch.tensor([[-1.0, -1.0], [1.0, -1.0]])
    head = nn.Linear(8, 4, bias=False)
    head.weight.data = torch.eye(8)[:4]
    return nn.Sequential(Rotate(amplify), Rotate(torch.zeros(8, 8)), Rotate(turn), head).eval(), x, y


def state(planted: tuple[nn.Module, Tensor, Tensor], **changes: object) -> State:
    model, x, y = planted
    return State(
        **{"model": model, "intact": model, "images": x, "labels": y, "layers": ["0", "1", "2"], "at": "2", **changes}
    )


@pytest.mark.parametrize("name", CRITERIA)
def test_contract(name: str, planted: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = planted
    before = [value.clone() for value in model.state_dict().values()]
    function = find_criterion(name)
    found = function(state(planted))
    assert set(found) == {"0", "1", "2"}
    assert all(isinstance(value, float) and value == value for value in found.values())
    assert function(state(planted)) == found
    few = function(state(planted, layers=["1", "2"]))
    assert set(few) == {"1", "2"}
    assert all(torch.equal(old, new) for old, new in zip(before, model.state_dict().values(), strict=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    if name not in ("sr_init", "communities"):  # the order of samples says nothing, but ties and summation do
        permuted = function(state(planted, images=x[order], labels=y[order]))
        assert permuted == pytest.approx(found, abs=1e-5)
    assert name in function.__module__
    assert function.__doc__ is not None


@pytest.mark.parametrize("name", ["modularity", "later_modularity", "communities", "accuracy", "anchored_modularity", "cross_entropy", "cka",
                                  "block_influence", "change"])  # fmt: skip
def test_what_does_nothing_goes_first_and_what_separates_last(name: str, planted) -> None:
    found = find_criterion(name)(state(planted))
    assert min(found.values()) == pytest.approx(found["1"], abs=1e-5)
    if name not in ("cka", "block_influence"):
        assert max(found.values()) == found["0"]


def test_the_published_reading_takes_what_lowers_the_curve() -> None:
    model = nn.Sequential(
        Rotate(torch.eye(4)), Rotate(-torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))), nn.Linear(4, 2)
    )
    y = torch.arange(60) % 2
    x = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
    x[:, 0] += 5 * y  # what tells the classes apart is what layer 1 removes
    found = find_criterion("gain")(State(model, model, x, y, ["0", "1"], "1"))
    q = modularity_curve(model, x, y, layers=["0", "1"]).modularity
    assert found["1"] == pytest.approx(q[1] - q[0])
    assert found["1"] < -0.2 < found["0"] == pytest.approx(0, abs=1e-9)
    assert find_criterion("change")(State(model, model, x, y, ["0", "1"], "1"))["1"] == -found["1"]


def test_the_curve_of_the_whole_network_is_read_once() -> None:
    """On ResNet-20: `plateau` follows the gains of the whole network, `plateau_by_stage` its count of each stage."""
    model, y = build("resnet20", seed=3).eval(), torch.arange(40) % 4
    x = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + 0.2 * y.view(-1, 1, 1, 1) / 4
    points = ["conv1", *(f"layer{stage}.{i}" for stage in (1, 2, 3) for i in range(3))]
    q = dict(zip(points, modularity_curve(model, x, y, layers=points).modularity, strict=True))
    gain = {layer: q[layer] - q[before] for before, layer in pairwise(points) if layer not in ("layer2.0", "layer3.0")}
    plan = plan_removal(model, x, y, num_layers=7, criterion="plateau").layer.tolist()
    assert plan == sorted(gain, key=gain.__getitem__)
    by_stage = plan_removal(model, x, y, num_layers=7, criterion="plateau_by_stage").layer.tolist()
    left = stages(gain)
    for layer, other in zip(plan, by_stage, strict=True):
        assert other == left[layer.rpartition(".")[0]].pop()
    assert by_stage != plan


def test_numbers_by_hand(planted) -> None:
    model, x, y = planted
    for layer in ("0", "1", "2"):
        smaller = drop_layers(model, [layer])
        with torch.no_grad():
            logits, features = smaller(x), smaller[:-1](x)
        assert find_criterion("accuracy")(state(planted))[layer] == -float((logits.argmax(1) == y).double().mean())
        loss = log_loss(y, logits.double().softmax(1))
        assert find_criterion("cross_entropy")(state(planted))[layer] == pytest.approx(loss)
        assert find_criterion("modularity")(state(planted))[layer] == -float(modularity(knn_graph(features), y))
        distance = (
            nn.functional.cosine_similarity(features[:, None], model[:-1](x)[None], dim=2).detach().fill_diagonal_(-2)
        )
        directed = torch.zeros(120, 120).scatter(1, distance.topk(3).indices, distance.topk(3).values)
        graph = nx.from_numpy_array(((directed + directed.T) / 2).numpy())
        expected = nx.community.modularity(graph, [set((y == c).nonzero().flatten().tolist()) for c in range(4)])
        assert find_criterion("anchored_modularity")(state(planted))[layer] == pytest.approx(-expected, abs=1e-6)
    with torch.no_grad():
        inside = model[0](x)
    cosine = (x * inside).sum(1) / (x.norm(dim=1) * inside.norm(dim=1))
    assert find_criterion("block_influence")(state(planted))["0"] == pytest.approx(1 - float(cosine.mean()), abs=1e-6)


def test_communities_of_the_whole_network_are_found_once(planted, monkeypatch: pytest.MonkeyPatch) -> None:
    module, seeds = import_module("graphmod.criteria.communities"), []
    real = module.leiden
    monkeypatch.setattr(module, "leiden", lambda graph, seed: seeds.append(seed) or real(graph, seed=seed))
    one = state(planted)
    for step in range(3):
        find_criterion("communities")(replace(one, seed=step))
    assert seeds == [0]


def test_communities_need_no_labels(planted) -> None:
    found = find_criterion("communities")(state(planted))
    shuffled = state(planted, labels=torch.zeros(120, dtype=torch.int64))
    assert find_criterion("communities")(shuffled) == found


def test_orders_that_look_at_nothing() -> None:
    model, x, y = build("resnet20"), torch.rand(4, 3, 32, 32), torch.arange(4) % 2
    table = removable_layers(model, x)
    layers = list(table.layer[table.removable])
    asked = State(model, model, x, y, layers, "layer3.2", seed=0)

    def order(name: str, **changes: int) -> list[str]:
        damage = find_criterion(name)(State(**{**vars(asked), **changes}))
        return sorted(layers, key=damage.__getitem__)

    assert order("last") == layers[::-1]
    assert order("uniform") == ["layer1.2", "layer3.2", "layer2.2", "layer1.1", "layer3.1", "layer2.1", "layer1.0"]
    assert order("random") != order("random", seed=1)
    assert order("random") == order("random")


def test_new_weights_reach_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(24, 2)).eval()
    x, y = torch.rand(20, 3, 8), torch.arange(20) % 2
    trained = {name: value.clone() for name, value in model[0].named_parameters()}
    drawn: dict[str, Tensor] = {}

    def look(model: nn.Module, *_: object) -> float:
        drawn.update({name: value.detach().clone() for name, value in model[0].named_parameters()})
        return 0.5

    monkeypatch.setattr("graphmod.criteria.sr_init.accuracy", look)
    assert find_criterion("sr_init")(State(model, model, x, y, ["0"], "0", seed=1)) == {"0": -0.5}
    kept = {name for name, value in drawn.items() if torch.equal(value, trained[name])}
    assert kept == {
        name for name in trained if "norm" in name or name in ("self_attn.in_proj_bias", "self_attn.out_proj.bias")
    }
    assert all(torch.equal(value, trained[name]) for name, value in model[0].named_parameters())


def test_dead_features_are_the_worst() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)).eval()
    nn.init.zeros_(model[1].weight)
    x, y = torch.rand(20, 4), torch.arange(20) % 2
    found = find_criterion("modularity")(State(model, model, x, y, ["0", "1"], "1"))
    assert found["0"] == 0
    assert find_criterion("cka")(State(model, model, x, y, ["1"], "1"))["1"] == 2


def test_unknown() -> None:
    with pytest.raises(
        ValueError, match="there is no graphmod.criteria member named 'modularty'; the nearest are 'mod"
    ):
        find_criterion("modularty")


def test_weights_drawn_anew_in_a_network_that_gives_a_dict() -> None:
    class Wrapped(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.inner(x)}

    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    x, y = torch.rand(40, 4), torch.arange(40) % 2
    plain, wrapped = (plan_removal(one, x, y, num_layers=1, criterion="sr_init") for one in (inner, Wrapped(inner)))
    assert plain.damage.item() == wrapped.damage.item()
    assert accuracy(inner, x, y) == accuracy(Wrapped(inner), x, y)


@pytest.mark.parametrize(
    "change",
    [
        nn.utils.parametrizations.weight_norm,
        partial(prune.random_unstructured, name="weight", amount=0.5),
    ],
    ids=["norm", "pruned"],
)
def test_weights_that_are_computed_cannot_be_drawn(change, planted) -> None:
    torch.manual_seed(0)
    model, x, y = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)).eval(), *planted[1:]
    change(model[1])
    drawn = find_criterion("sr_init")(State(model, model, x, y, ["0"], "1"))
    assert -1 <= drawn["0"] <= 0
    with pytest.raises(
        ValueError, match="sr_init cannot draw the weights of layer '1', which are computed from others"
    ):
        find_criterion("sr_init")(State(model, model, x, y, ["0", "1"], "1"))


def test_new_weights_touch_no_other_device(planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "manual_seed", None)  # it seeds all devices
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    before = torch.get_rng_state()
    find_criterion("sr_init")(state(planted))
    assert build("vgg11", seed=3)(torch.rand(1, 3, 32, 32, generator=torch.Generator())).shape == (1, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_convolutions_of_a_chain_are_a_stage_where_their_outputs_have_one_size() -> None:
    """VGG16's lie in one container: of three 8 x 8 layers two can go, and so on."""
    model, x, y = build("vgg16", seed=0).eval(), torch.rand(20, 3, 32, 32), torch.arange(20) % 2
    left = [
        name
        for name, ok in zip(*(removable_layers(model, x[:2])[one] for one in ("layer", "removable")), strict=True)
        if ok
    ]
    found = State(model, model, x, y, left, left[-1]).stages()
    assert [len(stage) for stage in found.values()] == [1, 1, 2, 2, 3]
    uniform = plan_removal(model, x, y, num_layers=3, criterion="uniform").layer.tolist()
    assert uniform == [left[-1], left[-2], left[-4]]


@pytest.mark.parametrize("name", ["accuracy", "cross_entropy"])
def test_criteria_of_classifiers(name: str) -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 9)).eval()
    x, y = torch.randint(0, 9, (9, 5)), torch.arange(9)
    with pytest.raises(ValueError, match=r"a classifier must give logits \[N, C\], a row for each sample; got"):
        find_criterion(name)(State(model, model, x, y, ["1.0"], "1.0"))
