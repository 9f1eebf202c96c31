"""Every study runs in seconds with its SMOKE settings and leaves a complete result."""

import importlib
import inspect
import json
import re
import runpy
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch

from graphmod import DynamicGraph, measure, summarize
from graphmod._family import members
from graphmod.datasets import load
from graphmod.models import build, save_weights
from graphmod.plots.conditions import plot_conditions
from graphmod.training import accuracy

ROOT = Path(__file__).resolve().parents[1]
STUDIES = members("analyses")


@pytest.mark.parametrize("name", STUDIES)
def test_smoke(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = importlib.import_module(f"analyses.{name}")
    out = tmp_path / "result"
    table = study.main(**study.SMOKE, out=out)
    assert {"table.csv", "figure.png", "settings.json"} <= {path.name for path in out.iterdir()}
    pd.testing.assert_frame_equal(pd.read_csv(out / "table.csv"), table)
    settings = json.loads((out / "settings.json").read_text())["settings"]
    given = json.loads(json.dumps(study.SMOKE))
    assert {name: settings[name] for name in given} == given
    assert f"are in {out}" in capsys.readouterr().out
    if name != "all":  # which is made of the others
        known = explained(name) | set(table.get("condition", []))  # of conditions one file has a column each
        for file in out.rglob("*.csv"):
            columns = {column for column in pd.read_csv(file).columns if not column.isdigit()}
            assert not {column for column in columns - known if column.removesuffix("_std") not in known}, file


def explained(study: str) -> set[str]:
    """The columns that docs/tables.md explains for a study."""
    parts = re.split(r"^## (.+)\n", (ROOT / "docs/tables.md").read_text(), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert sections.keys() == {*STUDIES, "In most of them"}
    return set(re.findall(r"`(\w+)`", sections[study] + sections["In most of them"]))


@pytest.mark.parametrize("name", STUDIES)
def test_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, f"analyses.{name}", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"analyses.{name}", run_name="__main__", alter_sys=False)
    assert ended.value.code == 0
    text = capsys.readouterr().out
    options = [line for line in text.splitlines() if line.startswith("  --")]
    assert len(options) > 5
    helps = text.split("options:")[1].split("  --")[1:]
    assert all(len(entry.split()) > 3 for entry in helps), "every option has its sentence"


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "all"])
def test_seed_and_image_size_reach_the_network_and_the_images(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, seen = importlib.import_module(f"analyses.{name}"), []
    reader = "load" if hasattr(study, "load") else "load_train_and_test"
    read = getattr(study, reader)

    def reads(*args: object, **options: object) -> object:
        seen.append(options["image_size"])
        return read(*args, **options)

    def builds(*_: object, **options: object) -> None:
        seen.append(options["seed"])
        raise ValueError("that is all")

    monkeypatch.setattr(study, reader, reads)
    monkeypatch.setattr(study, "build", builds)
    with pytest.raises(ValueError, match="that is all"):
        study.main(**study.SMOKE, seed=3, image_size=6, out=tmp_path / "result")
    assert seen == [6, 3]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("analyses", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == [f"analyses.{name}" for name in STUDIES]
    assert all(line.endswith((".", "?")) for line in lines)


def test_modularity_curve_repeats_and_its_graphs_hold_what_its_table_says(tmp_path: Path) -> None:
    from analyses.modularity_curve import SMOKE, main

    table = main(**SMOKE, out=tmp_path / "a")
    pd.testing.assert_frame_equal(main(**SMOKE, out=tmp_path / "b"), table)
    assert not main(**SMOKE, seed=1, out=tmp_path / "c").equals(table)
    graphs = [DynamicGraph.load(tmp_path / f"a/graphs/repeat{i}.safetensors") for i in range(2)]
    pd.testing.assert_frame_equal(summarize(measure(graphs)), table)
    samples = json.loads((tmp_path / "a/settings.json").read_text())["samples"]
    assert [len(ids) for ids in samples] == [50, 50]
    assert len({*samples[0], *samples[1]}) == 100
    labels = dict(zip(load("digits").ids, load("digits").labels.tolist(), strict=True))
    assert [labels[one] for one in samples[0]] == graphs[0].y.tolist()


def test_modularity_curve_of_the_embedded_digits(tmp_path: Path) -> None:
    from analyses.modularity_curve import main

    table = main(out=tmp_path / "trained", published=("ResNet18",))
    assert table.modularity.iloc[-1] > table.modularity.iloc[0]
    assert table.normalized.iloc[-1] > 0.97
    random = main(weights=None, out=tmp_path / "random")
    assert random.modularity.iloc[-1] < table.modularity.iloc[-1] - 0.05


def test_all_runs_the_studies_as_they_run_alone(tmp_path: Path) -> None:
    from analyses import modularity_curve
    from analyses.all import SMOKE, STUDIES, main

    assert set(STUDIES) <= set(members("analyses"))
    table = main(**SMOKE, out=tmp_path / "a")
    assert table.study.tolist() == ["modularity_curve", "metrics"]
    alone = modularity_curve.main(num_samples=60, repeats=2, out=tmp_path / "b")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a/modularity_curve/table.csv"), alone)
    assert "Metrics: why modularity" in (tmp_path / "a/report.html").read_text()
    told = main(studies=("graph_learning", "metrics"), num_samples=60, repeats=2, out=tmp_path / "few")
    assert told.summary[0].startswith("graph_learning came to no result: at least ten samples must be wrong and ten")
    assert "graph_learning came to no result" in (tmp_path / "few/report.html").read_text()
    assert {path.name for path in (tmp_path / "few").iterdir() if path.is_dir()} == {"metrics"}
    with pytest.raises(
        ValueError, match="1 of 1 studies came to no result; graph_learning came to no result: at least"
    ):
        main(studies=("graph_learning",), num_samples=60, repeats=2, out=tmp_path / "none")
    main(studies=("metrics",), num_samples=60, repeats=2, image_size=6, seed=1, out=tmp_path / "small")
    given = json.loads((tmp_path / "small/metrics/settings.json").read_text())["settings"]
    assert (given["image_size"], given["seed"]) == (6, 1)
    for wrong in ((), ("train",), ("curves",)):
        with pytest.raises(ValueError, match="studies must be one or more of ablation, .*; got (none|train|curves)"):
            main(studies=wrong, out=tmp_path / "c")


def test_all_goes_on_after_an_error_inside_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyses import all as every
    from analyses import significance

    for kind, said in ((RuntimeError, "too small\nfor it"), (AssertionError, "too small"), (ImportError, "too small")):
        monkeypatch.setattr(significance, "dynamic_graph", Mock(side_effect=kind(said)))
        table = every.main(**{**every.SMOKE, "studies": ("significance", "metrics")}, out=tmp_path / "all")
        assert table.summary[0] == "significance came to no result: too small"
        assert table.summary[1].startswith("Metrics: why")


def test_all_is_of_one_trained_network() -> None:
    from analyses import all as every

    assert len(every.STUDIES) == 9
    assert every.__doc__.startswith("All: the nine studies that look into one trained network, and one page")
    models = [inspect.signature(importlib.import_module(f"analyses.{name}").main).parameters for name in every.STUDIES]
    assert all({"model", "weights", "image_size", "seed"} <= set(one) for one in models)


def test_modularity_curve_of_one_layer_has_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from analyses.modularity_curve import SMOKE, main

    table = main(**SMOKE, layers=("conv1",), shuffled=True, published=("ResNet18",), out=tmp_path / "one")
    assert table.layer.tolist() == ["conv1"]
    assert (tmp_path / "one/beside/shuffled labels.csv").is_file()
    assert not (tmp_path / "one/agreement.csv").exists()
    assert "Agreement" not in capsys.readouterr().out


def test_modularity_curve_with_networks_and_labels_beside(tmp_path: Path) -> None:
    from analyses.modularity_curve import SMOKE, main

    plain = main(**SMOKE, out=tmp_path / "a")
    table = main(**SMOKE, compare=("digits=none",), shuffled=True, out=tmp_path / "b")
    pd.testing.assert_frame_equal(table, plain)
    random = pd.read_csv(tmp_path / "b/beside/digits random.csv")
    assert random.modularity.iloc[-1] < table.modularity.iloc[-1] - 0.05
    assert pd.read_csv(tmp_path / "b/beside/shuffled labels.csv").modularity.abs().max() < 0.3
    with pytest.raises(ValueError, match="there are two networks 'digits'"):
        main(**SMOKE, compare=("digits",), out=tmp_path / "c")
    save_weights(build("digits", seed=0), tmp_path / "other.safetensors")
    main(**SMOKE, compare=(f"digits={tmp_path}/other.safetensors",), out=tmp_path / "c")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "c/table.csv"), plain)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "c/beside/digits other.csv"), random)
    main(**SMOKE, weights=None, compare=("digits",), out=tmp_path / "d")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "d/beside/digits.csv"), plain)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "d/table.csv"), random)


def test_layer_pruning_repeats_with_other_seeds(tmp_path: Path) -> None:
    from analyses.layer_pruning import SMOKE, main

    table = main(**SMOKE, out=tmp_path / "both")
    second = main(**{**SMOKE, "repeats": 1}, seed=1, out=tmp_path / "second")
    measured = table.columns.drop("latency")
    pd.testing.assert_frame_equal(table[table.seed == 1][measured].reset_index(drop=True), second[measured])
    held = json.loads((tmp_path / "both/settings.json").read_text())["held_out"]
    assert [len(ids) for ids in held] == [100, 100]
    assert held[0] != held[1]
    summary = pd.read_csv(tmp_path / "both/summary.csv")
    assert summary.network.tolist() == ["whole", "modularity", "uniform"]
    assert (summary.seeds == 2).all()
    names = {path.name for path in (tmp_path / "both/networks").iterdir()}
    assert names == {f"{name} {seed}.safetensors" for name in summary.network for seed in (0, 1)}
    with pytest.raises(ValueError, match="repeats must be at least 1; got 0"):
        main(**{**SMOKE, "repeats": 0}, out=tmp_path / "none")


def test_training_dynamics_starts_from_the_weights_of_its_seed(tmp_path: Path) -> None:
    from analyses.training_dynamics import SMOKE, main

    state = torch.get_rng_state()
    main(**{**SMOKE, "epochs": 1}, seed=1, out=tmp_path / "one")
    test = load("digits")
    start = pd.read_csv(tmp_path / "one/training.csv").test_accuracy[0]
    assert start == accuracy(build("digits", seed=1), test.images, test.labels)
    assert start != accuracy(build("digits"), test.images, test.labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_complexity_counts_the_phases_of_its_curves(tmp_path: Path) -> None:
    from analyses.complexity import SMOKE, main

    table = main(**SMOKE, out=tmp_path / "a").set_index("network")
    curves = pd.read_csv(tmp_path / "a/curves.csv")
    assert (table.separation + table.plateau + table.degradation + 1 == table.num_layers).all()
    assert table.last_q["digits"] > table.last_q["digits random"] + 0.05
    assert table.accuracy["digits"] > 0.9 > 0.4 > table.accuracy["digits random"]
    assert not (tmp_path / "a/published.csv").exists()
    main(**SMOKE, published=True, out=tmp_path / "b")
    read = pd.read_csv(tmp_path / "b/published.csv")
    assert len(read) == 27
    assert (read.separation + read.plateau + read.degradation + 1 == read.num_layers).all()
    counted = curves[curves.network == "digits random"].phase.value_counts()
    assert counted.get("degradation", 0) == table.degradation["digits random"]


def test_complexity_has_no_accuracy_where_outputs_are_not_the_classes(tmp_path: Path) -> None:
    from analyses.complexity import SMOKE, main

    digits = load("digits", num_samples=400)
    five = digits.labels < 5
    np.savez(tmp_path / "five.npz", images=digits.images[five].numpy(), labels=digits.labels[five].numpy())
    table = main(**SMOKE, datasets=(f"npz:{tmp_path}/five.npz",), out=tmp_path / "a").set_index("network")
    assert np.isnan(table.accuracy["digits"])
    assert 0 <= table.accuracy["digits random"] < 0.6


def test_ablation_tells_how_stable_the_order_is(tmp_path: Path) -> None:
    from analyses.ablation import SMOKE, main

    main(**SMOKE, out=tmp_path / "a")
    stability = pd.read_csv(tmp_path / "a/stability.csv")
    assert len(stability) == 2 * 2 * 2 * 3 * 2
    assert stability.spearman.max() == pytest.approx(1)
    figures = {"figure.png", "num_samples.png", "metric.png", "symmetrize.png", "weight.png"}
    assert {path.name for path in (tmp_path / "a").glob("*.png")} == figures


def test_communities_and_its_tables_agree(tmp_path: Path) -> None:
    from analyses.communities import SMOKE, main

    table = main(**SMOKE, out=tmp_path / "a")
    assert (table.modularity_found >= table.modularity_labels - 0.02).all()
    assert table.ami.iloc[-1] > 0.8
    assert {path.name for path in (tmp_path / "a").glob("*.png")} == {"figure.png", "mixing.png", "alluvial.png"}
    samples = pd.read_csv(tmp_path / "a/samples.csv")
    assert len(samples) == len(set(samples.id)) == 60
    assert samples.contribution.is_monotonic_increasing
    assert samples.prediction_depth.between(1, len(table) + 1).all()
    flows = pd.read_csv(tmp_path / "a/flows.csv")
    assert set(flows.groupby("depth").num_samples.sum()) == {60}
    assert pd.read_csv(tmp_path / "a/classes.csv").num_samples.sum() == 60
    pd.testing.assert_frame_equal(main(**SMOKE, out=tmp_path / "b"), table)


def test_communities_of_few_samples_layers_and_columns(tmp_path: Path) -> None:
    from analyses.communities import main

    with pytest.warns(UserWarning, match="has 1 samples: with k = 2"):
        main(num_samples=8, repeats=1, k=2, order="file", shown=2, out=tmp_path / "a")  # a class is not among them
    assert len(pd.read_csv(tmp_path / "a/flows.csv").depth.unique()) == 1
    with pytest.raises(ValueError, match="communities are followed from layer to layer; conv1 is one layer only"):
        main(num_samples=60, repeats=1, layers=("conv1",), out=tmp_path / "b")


def test_what_studies_cannot_draw_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyses import class_separation, communities, complexity, layer_difference, significance

    for study in (class_separation, communities, complexity, layer_difference, significance):
        monkeypatch.setattr(study, "build", None)
    for shown in (0, 13):
        with pytest.raises(ValueError, match=f"shown must be from 1 to 12; got {shown}"):
            class_separation.main(shown=shown, out=tmp_path / "a")
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\); got 95"):
        significance.main(confidence=95, out=tmp_path / "a")
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\); got 1"):
        complexity.main(confidence=1, out=tmp_path / "a")
    with pytest.raises(ValueError, match="num_permutations must be at least 1; got 0"):
        significance.main(num_permutations=0, out=tmp_path / "a")
    with pytest.raises(ValueError, match="nodes must be above k, 3; got 3"):
        class_separation.main(nodes=3, out=tmp_path / "a")
    with pytest.raises(ValueError, match="shown must be at least 2; got 1"):
        communities.main(shown=1, out=tmp_path / "a")
    with pytest.raises(ValueError, match="near must be at least 1; got 0"):
        layer_difference.main(near=0, out=tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_class_separation_leaves_its_pictures_and_repeats(tmp_path: Path) -> None:
    from analyses.class_separation import SMOKE, main

    table = main(**SMOKE, out=tmp_path / "a")
    assert {"figure.png", "graph.png", "graph.gif", "graph.html"} <= {path.name for path in (tmp_path / "a").iterdir()}
    pd.testing.assert_frame_equal(main(**SMOKE, out=tmp_path / "b"), table)


def test_significance_tells_trained_from_shuffled(tmp_path: Path) -> None:
    from analyses.significance import SMOKE, main

    table = main(**SMOKE, out=tmp_path / "a")
    assert (table.p_value == 1 / 101).all()
    assert (table.modularity_low < table.modularity).all()
    assert (table.modularity < table.modularity_high).all()
    assert (table.null_high < table.modularity_low).all()
    assert table.null_mean.abs().max() < 0.1


def test_metrics_has_them_all(tmp_path: Path) -> None:
    from analyses.metrics import SMOKE, main

    table = main(**SMOKE, out=tmp_path / "a")
    assert set(members("graphmod.metrics")) <= set(table)
    order = pd.read_csv(tmp_path / "a/correlation.csv").set_index("metric").spearman
    assert order["label_overlap"] > 0.5
    assert order["neural_collapse"] < 0
    few = main(**SMOKE, metrics=("silhouette",), out=tmp_path / "b")
    assert few.silhouette.tolist() == table.silhouette.tolist()
    with pytest.raises(ValueError, match="there is no graphmod.metrics member named 'silhouete'; the nearest are 'sil"):
        main(**SMOKE, metrics=("silhouete",), out=tmp_path / "c")


def test_train_writes_weights_that_build_reads(tmp_path: Path) -> None:
    from analyses.train import main

    table = main(epochs=2, out=tmp_path / "train")
    test = load("digits")
    model = build("digits", weights=tmp_path / "train/weights.safetensors")
    assert accuracy(model, test.images, test.labels) == pytest.approx(table.test_accuracy.iloc[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 200}, "k must be at least 1 and smaller than the number of samples; got k=200 for 200 samples"),
        ({"num_samples": 1001}, "5 x 1001 samples|5005 samples were asked for, there are 1000"),
        ({"graph": "knm"}, "there is no graphmod.graphs member named 'knm'"),
        ({"layers": ("layer9.*",)}, "there is no layer named 'layer9"),
        ({"published": ("ResNet1",)}, "no curve was published for the network 'ResNet1'"),
        ({"model": "resnet20"}, "no weights come with resnet20"),
    ],
)
def test_bad_settings_leave_nothing(settings: dict, message: str, tmp_path: Path) -> None:
    from analyses.modularity_curve import main

    with pytest.raises(ValueError, match=message):
        main(**settings, out=tmp_path / "result")
    assert not list(tmp_path.iterdir())


def test_other_images_stand_where_an_attack_stands(tmp_path: Path) -> None:
    from analyses.adversarial import SMOKE, main

    digits = load("digits", num_samples=200)
    faint = (0.5 + 0.1 * digits.images + 0.3 * torch.rand(digits.images.shape)).clamp(0, 1)
    np.savez(tmp_path / "faint.npz", images=faint.numpy(), labels=digits.labels.numpy())
    main(**{**SMOKE, "attacks": ("fgsm",)}, against=(f"npz:{tmp_path / 'faint.npz'}",), out=tmp_path / "result")
    curves = pd.read_csv(tmp_path / "result/curves.csv").query("samples == 'all'")
    last = curves[curves.depth == curves.depth.max()].set_index("condition").modularity
    assert last[f"npz:{tmp_path / 'faint.npz'}"] < last["clean"] - 0.1
    table = pd.read_csv(tmp_path / "result/table.csv").set_index("condition")
    assert table.departs_at.notna()[f"npz:{tmp_path / 'faint.npz'}"]
    assert table.success.isna()[f"npz:{tmp_path / 'faint.npz'}"]


def test_all_studies_take_the_number_of_samples(tmp_path: Path) -> None:
    from analyses.all import main

    table = main(studies=("ablation", "layer_difference"), num_samples=60, repeats=1, out=tmp_path / "all")
    assert not table.summary.str.contains("came to no result").any()
    settings = json.loads((tmp_path / "all/ablation/settings.json").read_text())["settings"]
    assert settings["num_samples"] == [60]
    assert len(settings["k"]) > 1
    assert "out" not in settings


def test_layer_difference_takes_the_convolutions_of_any_network(tmp_path: Path) -> None:
    from analyses.layer_difference import main

    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=noise, labels=np.arange(40) % 2)
    given = {"model": "torchvision:resnet18", "weights": None, "dataset": f"npz:{tmp_path}/noise.npz"}
    main(**given, num_samples=40, out=tmp_path / "difference")
    claim = pd.read_csv(tmp_path / "difference/claim.csv").query("pairs == 'all' and measure == 'cka'")
    assert set(claim.group) == {"outputs", "inside"}


def test_layer_difference_of_a_network_and_its_other_weights(tmp_path: Path) -> None:
    from analyses.layer_difference import main

    given = {"num_samples": 60, "layers": ("layer1.0", "layer3.2")}
    save_weights(build("digits", seed=7), tmp_path / "seven.safetensors")
    main(**given, other_weights=f"{tmp_path}/seven.safetensors", out=tmp_path / "file")
    alone = pd.read_csv(tmp_path / "file/other.csv")
    main(**given, weights=None, seed=6, other="digits", out=tmp_path / "random")
    main(**given, weights=None, seed=6, out=tmp_path / "none")
    assert not (tmp_path / "none/other.csv").exists()
    two = pd.read_csv(tmp_path / "random/other.csv")
    assert two.cka.max() < 0.999  # a network is not compared with itself
    main(**given, other="digits", other_weights=f"{tmp_path}/seven.safetensors", out=tmp_path / "both")
    pd.testing.assert_frame_equal(alone, pd.read_csv(tmp_path / "both/other.csv"))


def test_adversarial_says_what_is_wrong_before_it_attacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyses import adversarial

    monkeypatch.setattr(adversarial, "attacks_and_controls", Mock(side_effect=AssertionError("it attacked")))
    for settings, message in (
        ({"layers": ("layer9",)}, "there is no layer named 'layer9'"),
        ({"published": "ResNet1"}, "no curve was published for the network 'ResNet1'"),
        ({"evolution": ()}, "evolution must be two numbers, candidates and generations; got 0"),
        ({"evolution": (40, 20, 10)}, "evolution must be two numbers, candidates and generations; got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            adversarial.main(**adversarial.SMOKE, **settings, out=tmp_path / "result")


def test_a_training_of_nothing_is_refused(tmp_path: Path) -> None:
    from analyses import train, training_dynamics

    with pytest.raises(ValueError, match="epochs must be at least 1; got 0"):
        train.main(epochs=0, out=tmp_path / "train")
    for epochs, every in ((0, 1), (4, 5)):
        with pytest.raises(
            ValueError, match=f"epochs must be at least every, {every}, or none is measured; got {epochs}"
        ):
            training_dynamics.main(epochs=epochs, every=every, out=tmp_path / "dynamics")


def test_complexity_needs_several_draws(tmp_path: Path) -> None:
    from analyses.complexity import main

    with pytest.raises(
        ValueError, match="repeats must be at least 2, over which the interval of a gain is taken; got 1"
    ):
        main(repeats=1, out=tmp_path / "one")


def test_complexity_draws_from_all_classes(tmp_path: Path) -> None:
    from analyses.complexity import main

    digits = load("digits")
    order = digits.labels.argsort(stable=True)
    images, labels = (255 * digits.images[order]).byte(), digits.labels[order]
    np.savez(tmp_path / "sorted.npz", images=images.numpy(), labels=labels.numpy())
    main(networks=("digits",), datasets=(f"npz:{tmp_path}/sorted.npz",), num_samples=60, repeats=2, out=tmp_path / "a")
    curves = pd.read_csv(tmp_path / "a/curves.csv")
    assert curves.modularity.iloc[-1] > 0.75  # of the first 120 images, which are of two classes, it is below 1/2


def test_a_data_set_that_is_named_twice_is_measured_once(tmp_path: Path) -> None:
    from analyses.complexity import SMOKE, main

    once, twice = (main(**SMOKE | {"datasets": ("digits",) * n}, out=tmp_path / str(n)) for n in (1, 2))
    pd.testing.assert_frame_equal(once, twice)


def test_fewer_samples_than_nodes(tmp_path: Path) -> None:
    from analyses.class_separation import SMOKE, main

    main(**SMOKE | {"num_samples": 60, "nodes": 100}, out=tmp_path / "a")
    assert len(json.loads((tmp_path / "a/settings.json").read_text())["nodes"]) == 60


def test_metrics_of_a_single_layer_name_no_correlation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, given = importlib.import_module("analyses.metrics"), []
    draw = study.plot_panels
    monkeypatch.setattr(study, "plot_panels", lambda curve, panels: given.extend(panels) or draw(curve, panels))
    few = {"num_samples": 60, "repeats": 2, "metrics": ("knn_accuracy", "neural_collapse")}
    study.main(**few, layers=("layer3.2",), out=tmp_path / "one")
    assert given == ["modularity", "knn_accuracy", "neural_collapse"]
    study.main(**few, out=tmp_path / "all")
    assert [title[:-4] for title in given[4:]] == ["knn_accuracy   ρ with Q = ", "neural_collapse   ρ with Q = −"]


def test_both_pictures_of_the_attacks_draw_a_condition_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, lines = importlib.import_module("analyses.adversarial"), []

    def draw(*given: object, **more: object) -> object:
        ax = plot_conditions(*given, **more)
        lines.append({line.get_label(): (line.get_color(), line.get_linestyle()) for line in ax.lines})
        return ax

    monkeypatch.setattr(study, "plot_conditions", draw)
    study.main(num_samples=60, attacks=("clip_only", "fgsm"), strengths=(0.1,), eps=0.2, out=tmp_path / "result")
    figure, fooled = lines
    assert {"clean", "fgsm"} <= set(fooled) < set(figure)
    assert fooled == {name: figure[name] for name in fooled}
