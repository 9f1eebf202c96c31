"""Where the curve is level or falls, against scipy's paired t-test and by hand."""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from matplotlib.patches import Rectangle
from scipy import stats
from torch.nn.utils import prune

from graphmod import surgery
from graphmod.activations import layer_names
from graphmod.costs import cost
from graphmod.criteria import State
from graphmod.curves import modularity_curve
from graphmod.datasets import load
from graphmod.models import build, load_weights, save_weights
from graphmod.plots.grid import SHADES, plot_grid
from graphmod.pruning import beyond_layout, count_phases, drop_layers, plan_removal, redundant_layers, removable_layers


def measured(q: np.ndarray) -> pd.DataFrame:
    """A table of `measure` of Q `[repeats, layers]`, with another metric beside it."""
    rows = [
        (repeat, f"layer{depth}", depth, metric, value)
        for repeat, curve in enumerate(q)
        for depth, value in enumerate(curve, start=1)
        for metric in ("modularity", "overlap")
    ]
    return pd.DataFrame(rows, columns=["repeat", "layer", "depth", "metric", "value"])


def test_phases_are_counted_in_the_order_given() -> None:
    q = {"b": [0.1, 0.0, 0.0, 0.5], "a": [0.2, 0.4]}
    curves = [
        redundant_layers(measured(np.array([values])), tolerance=0.01).assign(network=network, dataset=dataset)
        for dataset in ("z", "y")
        for network, values in q.items()
    ]
    table = count_phases(pd.concat(curves))
    assert table[["network", "dataset"]].to_numpy().tolist() == [["b", "z"], ["a", "z"], ["b", "y"], ["a", "y"]]
    assert table.iloc[0, 2:].tolist() == [4, 1, 1, 1, 0.1, 0.0, 0.5]
    assert table.iloc[3, 2:].tolist() == [2, 1, 0, 0, 0.2, 0.2, 0.4]


def test_a_layer_without_q_is_first_or_last_all_the_same() -> None:
    curve = redundant_layers(measured(np.array([[np.nan, 0.2, 0.5, np.nan], [np.nan, 0.1, 0.6, np.nan]])))
    table = count_phases(curve.assign(network="a", dataset="b"))
    assert table[["first_q", "last_q"]].isna().all(axis=None)
    assert table.lowest_q.item() == pytest.approx(0.15)


def test_phases_are_those_of_a_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    steps = np.array([0.1, 0.0, 0.2, -0.1, 0.003, -0.05, 0.0, 0.3, 0.0, 0.01])
    noise = 0.02 * generator.standard_normal((6, 10)) + 0.3 * generator.standard_normal((6, 1))  # draws differ in level
    q = steps.cumsum() + noise
    table = redundant_layers(measured(q))
    assert table.layer.tolist() == [f"layer{i}" for i in range(1, 11)]
    np.testing.assert_allclose(table.modularity, q.mean(axis=0))
    assert np.isnan(table.gain[0])
    assert pd.isna(table.phase[0])
    for i in range(1, 10):
        test = stats.ttest_rel(q[:, i], q[:, i - 1])
        interval = test.confidence_interval(0.95)
        assert (table.gain_low[i], table.gain_high[i]) == pytest.approx((interval.low, interval.high))
        expected = "plateau" if test.pvalue > 0.05 else "separation" if test.statistic > 0 else "degradation"
        assert table.phase[i] == expected
    assert set(table.phase[1:]) == {"separation", "plateau", "degradation"}


def test_a_layer_without_q_has_no_gain_and_no_phase() -> None:
    for q in ([[0.1, np.nan, 0.5, 0.9]] * 2, [[0.1, 0.2, 0.5, 0.9], [0.1, np.nan, 0.5, 0.9]]):
        table = redundant_layers(measured(np.array(q)))
        assert table.modularity.isna().tolist() == [False, True, False, False]
        assert table.gain.isna().tolist() == [True, True, True, False]
        assert table.phase.isna().tolist() == [True, True, True, False]


def test_tables_of_two_networks_are_not_averaged() -> None:
    table = measured(np.array([[0.1, 0.2]] * 2))
    with pytest.raises(ValueError, match="has several rows for one repeat and depth; pass that of one network"):
        redundant_layers(pd.concat([table, table]))


def test_a_stated_tolerance_needs_one_repeat() -> None:
    q = np.array([[0.1, 0.15, 0.16, 0.1]])
    assert redundant_layers(measured(q), tolerance=0.02).phase.tolist()[1:] == ["separation", "plateau", "degradation"]
    assert redundant_layers(measured(q), tolerance=0).phase.tolist()[1:] == ["separation", "separation", "degradation"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one repeat says nothing about chance; measure several repeats, or state a tolerance"),
        ({"confidence": 1.0}, r"confidence must be in \(0, 1\); got 1.0"),
        ({"tolerance": -0.1}, "tolerance must be at least 0; got -0.1"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        redundant_layers(measured(np.array([[0.1, 0.2]])), **settings)


def test_no_modularity() -> None:
    table = measured(np.array([[0.1, 0.2]]))
    with pytest.raises(ValueError, match="the table has no metric 'modularity'; pass the one that measure returns"):
        redundant_layers(table[table.metric == "overlap"])
    with pytest.raises(ValueError, match="pass the one that measure returns, of modularity_terms"):
        redundant_layers(pd.DataFrame({"layer": ["a"], "modularity": [0.5]}))


def test_grid_has_a_curve_for_each_pair_and_shades_what_idles() -> None:
    one = pd.DataFrame({"depth": [1, 2, 3, 4], "modularity": [0.1, 0.1, 0.05, 0.8]})
    one["phase"] = [None, "plateau", "degradation", "separation"]
    pairs = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
    first = plot_grid(pd.concat([one.assign(network=network, dataset=dataset) for network, dataset in pairs]))
    axes = first.figure.axes
    assert [ax.get_title() for ax in axes] == ["a\nx", "b\nx", "a\ny", "b\ny"]
    many = plot_grid(pd.concat([one.assign(network=name, dataset=data) for data in "xy" for name in "abcdef"]))
    assert [ax.get_title() for ax in many.figure.axes][:3] == ["a\nx", "a\ny", "b\nx"]
    for ax in axes:
        assert list(ax.lines[0].get_ydata()) == [0.1, 0.1, 0.05, 0.8]
        spans = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert sorted((patch.get_x(), patch.get_width()) for patch in spans) == [(1, 1), (2, 1)]
    (legend,) = first.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(SHADES)
    plt.close("all")


@pytest.fixture(scope="module")
def digits() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    data = load("digits")
    return build("digits", weights="default"), data.images[:150], data.labels[:150]


def test_a_plan_is_greedy(digits) -> None:
    """Each step against a brute-force search: drop each layer that is left, measure, take the best."""
    model, x, y = digits
    plan = plan_removal(model, x, y, num_layers=3, criterion="modularity")
    table = removable_layers(model, x)
    left, gone = list(table.layer[table.removable]), []
    for row in plan.itertuples():
        found = {}
        for layer in left:
            smaller = drop_layers(model, [*gone, layer])
            found[layer] = modularity_curve(smaller, x, y, layers=[layer_names(smaller)[-1]]).modularity[0]
        best = max(found, key=found.__getitem__)
        assert row.layer == best
        assert row.damage == pytest.approx(-found[best], abs=1e-9)
        assert f"the least of {len(left)}" in row.reason
        left.remove(best)
        gone.append(best)
        size = cost(drop_layers(model, gone), x[:1])
        assert (row.macs, row.num_parameters) == (size["macs"], size["num_parameters"])
    assert plan.step.tolist() == [1, 2, 3]


def test_a_plan_reaches_its_multiply_adds(digits) -> None:
    model, x, y = digits
    whole = cost(model, x[:1])["macs"]
    share = plan_removal(model, x, y, max_macs=0.6, criterion="last")
    assert share.macs.iloc[-1] <= 0.6 * whole < share.macs.iloc[-2]
    assert plan_removal(model, x, y, max_macs=0.6 * whole, criterion="last").equals(share)
    assert len(plan_removal(model, x, y, max_macs=share.macs.iloc[0], criterion="last")) == 1


def test_a_plan_by_a_function_and_among_some_layers(digits) -> None:
    model, x, y = digits

    def by_name(state: State) -> dict[str, float]:
        return {layer: -float(layer[-1]) for layer in state.layers}

    plan = plan_removal(model, x, y, num_layers=2, criterion=by_name, layers=["layer1.0", "layer1.1", "layer2.2"])
    assert plan.layer.tolist() == ["layer2.2", "layer1.1"]
    assert plan.reason[1] == "by_name: -1, the least of 2; next layer1.0, -0"
    assert plan_removal(model, x, y, num_layers=1, criterion=by_name, layers=["layer1.1"]).reason[0].endswith("of 1")


def test_the_order_in_which_layers_are_stated_does_not_matter() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(60, 3, 8, 8), torch.arange(60) % 3
    plain = build("resnet20", num_classes=3)
    turned = deepcopy(plain)
    turned._modules["layer1"] = turned._modules.pop("layer1")  # now behind layer3, though it runs first
    options = {"num_layers": 2, "criterion": "modularity", "progress": False}
    assert plan_removal(turned, x, y, **options).layer.tolist() == plan_removal(plain, x, y, **options).layer.tolist()


class ByName(torch.nn.Module):
    """Blocks that are attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = (torch.nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + self.second(x + self.first(x)))


@pytest.mark.parametrize("options", [{"num_layers": 1}, {"max_macs": 0.5}])
def test_blocks_called_by_name_cannot_go(options: dict) -> None:
    with pytest.raises(ValueError, match="no layer can go; 0 in a Sequential or ModuleList were looked at"):
        plan_removal(ByName(), torch.rand(20, 4), torch.arange(20) % 2, **options)


def test_a_random_plan_repeats_and_depends_on_its_seed(digits) -> None:
    plans = [tuple(plan_removal(*digits, num_layers=4, criterion="random", seed=seed).layer) for seed in (0, 0, 1, 2)]
    assert plans[0] == plans[1]
    assert len(set(plans)) == 3


def test_all_layers_of_a_wrapped_network_can_go() -> None:
    model = torch.nn.Sequential(torch.nn.Identity(), build("torchvision:resnet18", num_classes=4))
    x, y = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2

    def last_tried(state: State) -> dict[str, float]:
        return {trial.layer: -float(place) for place, trial in enumerate(state.trials())}

    plan = plan_removal(model, x, y, num_layers=5, criterion=last_tried)
    assert plan.layer.tolist() == [f"1.network.layer{name}" for name in ("4.1", "3.1", "2.1", "1.1", "1.0")]
    assert cost(drop_layers(model, plan), x)["macs"] == plan.macs.iloc[-1]


def test_layers_are_judged_once_a_plan_and_a_table_is_taken_as_it_is(digits, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = digits
    table, asked, real = removable_layers(model, x), [], surgery.hidden_uses
    monkeypatch.setattr(surgery, "hidden_uses", lambda *given: asked.append(list(given[2])) or real(*given))
    plan = plan_removal(model, x, y, num_layers=3, criterion="last")
    plan_removal(model, x, y, num_layers=1, layers=["layer1.0"])
    assert asked == [list(table.layer[table.removable]), [""], [""], ["layer1.0"]], (
        "each by itself, and those of a plan together"
    )
    pd.testing.assert_frame_equal(plan_removal(model, x, y, num_layers=3, criterion="last", layers=table), plan)
    assert len(asked) == 6


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, torch.compile])
def test_a_plan_of_what_is_wrapped_is_that_of_the_network_inside(digits, wrap: Callable) -> None:
    model, x, y = digits
    plan = plan_removal(model, x, y, num_layers=2, criterion="modularity")
    wrapped = wrap(model)
    pd.testing.assert_frame_equal(plan_removal(wrapped, x, y, num_layers=2, criterion="modularity"), plan)
    smaller = drop_layers(wrapped, plan, x[:2])
    assert list(smaller.state_dict()) == list(drop_layers(model, plan).state_dict())
    pd.testing.assert_frame_equal(removable_layers(wrapped, x[:2]), removable_layers(model, x[:2]))


def test_samples_take_the_type_of_the_network(digits) -> None:
    model, x, y = digits
    half = deepcopy(model).bfloat16()
    plan = plan_removal(half, x, y, num_layers=2, criterion="accuracy")
    pd.testing.assert_frame_equal(plan_removal(half, x.bfloat16(), y, num_layers=2, criterion="accuracy"), plan)
    assert set(removable_layers(half, x[:2]).layer) == set(removable_layers(model, x[:2]).layer)


def test_a_plan_of_blocks_that_a_pass_has_to_judge() -> None:
    model, x = build("torchvision:squeezenet1_1"), torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plan = plan_removal(model, x, torch.arange(6) % 2, num_layers=3, criterion="last")
    smaller = drop_layers(model, plan)
    assert cost(smaller, x)["macs"] == plan.macs.iloc[-1]
    with pytest.raises(ValueError, match="it seems to take 512 channels and give 256"):
        drop_layers(model, plan.layer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either num_layers or max_macs; got None and None"),
        ({"num_layers": 1, "max_macs": 0.5}, "give either num_layers or max_macs; got 1 and 0.5"),
        ({"num_layers": 8}, "num_layers must be from 1 to 7, the layers that can go; got 8"),
        (
            {"max_macs": 0.1},
            "max_macs must be at least 0.183 and below 1, or at least 115520 and below 631616; got 0.1",
        ),
        ({"max_macs": 1.0}, "max_macs must be at least 0.183 and below 1"),
        ({"num_layers": 1, "layers": ["layer2.0"]}, "layer 'layer2.0' cannot be removed: it makes"),
        ({"num_layers": 1, "at": "nosuch"}, "there is no layer named 'nosuch'; the nearest are"),
        (
            {"num_layers": 1, "at": "layer1.*"},
            r"at must be one layer that runs once; got 'layer1.\*', which is layer1.0, layer1.1",
        ),
        (
            {"num_layers": 1, "at": "layer3.1.conv1"},
            "at must not be inside a layer that may go; got 'layer3.1.conv1', which is inside 'layer3.1': name that",
        ),
        ({"num_layers": 1, "layers": "layer3.11"}, "there is no removable layer named 'layer3.11'"),
        ({"num_layers": 1, "criterion": "gains"}, "there is no graphmod.criteria member named 'gains'"),
        (
            {"num_layers": 1, "criterion": lambda state: dict.fromkeys(state.layers[1:], 0.0)},
            "criterion '<lambda>' must give a damage for each layer; there is none for 'layer1.0'",
        ),
    ],
)
def test_plans_that_cannot_be(digits, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_removal(*digits, **options)


def test_the_layout_that_fits_the_published_row() -> None:
    """Lu et al. 2022 publish −43.00 % parameters and −60.30 % multiply-adds for ResNet-56; [2, 3, 6] is what fits."""
    model, x = build("resnet56"), torch.rand(1, 3, 32, 32)
    names = beyond_layout(model, (2, 3, 6))
    assert len(names) == 16
    before, after = cost(model, x), cost(drop_layers(model, names), x)
    assert 1 - after["macs"] / before["macs"] == pytest.approx(0.602, abs=0.0005)
    assert 1 - after["num_parameters"] / before["num_parameters"] == pytest.approx(0.4291, abs=0.0005)
    assert beyond_layout(model, (9, 9, 9)) == []
    for wrong in ((2, 3), (2, 3, 10), (-1, 3, 6)):
        with pytest.raises(ValueError, match=r"layout must be at most \[9, 9, 9\], the layers of each stage; got"):
            beyond_layout(model, wrong)


def tiny_vit(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 4, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    model = torchvision.models.VisionTransformer(**sizes, num_classes=10).eval()
    torch.nn.init.normal_(model.heads.head.weight)  # torchvision starts it at zero
    return model


@pytest.mark.parametrize(
    "make", [partial(build, "resnet20"), partial(build, "vgg11"), tiny_vit], ids=["resnet20", "vgg11", "vit"]
)
def test_the_whole_way_to_onnx(make: Callable[..., torch.nn.Module], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra `test`")
    model, x = make(), torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plan = plan_removal(model, x, torch.arange(24) % 3, num_layers=2)
    assert plan.macs.is_monotonic_decreasing
    smaller = drop_layers(model, plan)
    assert sum(one.numel() for one in smaller.parameters()) == plan.num_parameters.iloc[-1]
    with torch.no_grad():
        expected = smaller(x)
    assert expected.shape == (24, 10)
    save_weights(smaller, tmp_path / "smaller.safetensors")
    again = load_weights(drop_layers(make(seed=1), plan.layer), tmp_path / "smaller.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), expected)
    torch.onnx.export(smaller, (x,), tmp_path / "smaller.onnx", dynamo=True, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "smaller.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-4)


def test_a_network_that_overflows_without_a_layer_keeps_it() -> None:
    model, x, y = (
        torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(4)), torch.nn.Linear(4, 2)),
        torch.rand(40, 4),
        torch.arange(40) % 2,
    )

    def worth(state: State) -> dict[str, float]:
        return {layer: math.nan if layer == "0" else float(layer) for layer in state.layers}

    plan = plan_removal(model, x, y, num_layers=3, criterion=worth)
    assert list(plan.layer) == ["1", "2", "3"]
    with pytest.raises(ValueError, match="num_layers must be from 1 to 4, the layers that can go; got 1.5"):
        plan_removal(model, x, y, num_layers=1.5)


def test_one_layer_may_be_named_and_what_is_judged_may_be_inside_another(digits) -> None:
    model, x, y = digits
    one = plan_removal(model, x, y, num_layers=1, layers="layer3.1", criterion="modularity")
    assert one.layer.tolist() == ["layer3.1"]
    inside = plan_removal(model, x, y, num_layers=1, layers="layer3.1", criterion="modularity", at="layer1.1.conv1")
    assert inside.damage.item() != one.damage.item()


def test_where_the_last_block_is_inside_one_that_may_go_that_one_is_judged() -> None:
    class Residual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x)

    model, x = torch.nn.Sequential(Residual(), torch.nn.Flatten(), torch.nn.Linear(32, 2)), torch.rand(9, 2, 4, 4)
    assert layer_names(model) == ["0.inner"]
    plan = plan_removal(model, x, torch.arange(9) % 2, num_layers=1, criterion="modularity")
    assert plan.layer.tolist() == ["0"]


def test_a_network_that_is_pruned_already() -> None:
    model, x = build("resnet20"), torch.rand(4, 3, 32, 32)
    prune.l1_unstructured(model.layer1[1].conv1, "weight", amount=0.5)
    prune.l1_unstructured(model.layer3[1].conv1, "weight", amount=0.5)
    smaller = drop_layers(model, ["layer3.1"])
    with torch.no_grad():
        assert torch.equal(smaller(x), surgery.skip_layers(model, ["layer3.1"], x)(x))
    assert surgery.names_before(model, ["layer3.1"])["layer3.2"] == "layer3.2"
