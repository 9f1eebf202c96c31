"""The arrows: who may import whom. A stage knows what lies below it and nothing of its neighbours."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each rank may import from the ranks above it in this list; a family is one stage, its members know only its private files.
RANKS = [
    {
        "_augmentation",
        "_draws",
        "_checkpoints",
        "_quiet",
        "_files",
        "_finished",
        "_family",
        "_names",
        "_numbering",
        "_passes",
        "_tensors",
        "distributed",
        "_layers",
        "_steps",
        "inputs",
        "manifest",
        "pooling",
        "samples",
        "_sources",
        "data",
    },
    {
        "activations",
        "batch_norm",
        "graphs",
        "metrics",
        "models",
        "datasets",
        "plots",
        "reports",
        "stored",
        "curve_tables",
        "layer_matrices",
        "published",
        "commandline",
    },
    {
        "_chains",
        "attacks",
        "communities",
        "costs",
        "exchange",
        "layer_modularity",
        "mixing",
        "significance",
        "similarity",
        "training",
        "trajectories",
        "uncertainty",
    },
    {"_cuts", "resolution"},
    {"surgery", "trials"},
    {"ablation", "criteria", "curves"},
    {"adversarial", "pruning", "tracking"},
    {"attacked_curves", "detection", "failures", "pyg", "removal"},
    {"retraining"},
    {"__init__"},
    {"analyses"},
]
FAMILIES = {"attacks", "criteria", "graphs", "metrics", "models", "plots"}
HEAVY = {"igraph", "leidenalg", "sklearn", "seaborn", "matplotlib", "torchvision"}
MODULES = sorted([*(ROOT / "graphmod").rglob("*.py"), *(ROOT / "analyses").glob("*.py")])


def module_name(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(source: str, module: tuple[str, ...], is_package: bool = False) -> Iterator[tuple[str, ...]]:
    """The modules that a module imports from this project, as tuples of names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module[: len(module) - node.level + is_package] if node.level else ()
            target = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((*target, alias.name) for alias in node.names)


def stage(module: tuple[str, ...]) -> str | None:
    if module[0] == "analyses":
        return "analyses"
    if module[0] != "graphmod":
        return None
    name = module[1] if len(module) > 1 else "__init__"
    return name if any(name in rank for rank in RANKS) else "__init__"


def wrong_arrows(source: str, module: tuple[str, ...], is_package: bool = False) -> list[str]:
    """Imports that run up or sideways."""
    mine = stage(module)
    rank = {name: i for i, names in enumerate(RANKS) for name in names}
    wrong = []
    for target in imports(source, module, is_package):
        theirs = stage(target)
        if theirs is None:
            continue
        within = mine == theirs and mine in FAMILIES and target[2:3] != () and target[2].startswith("_")
        foundation = rank[mine] == rank[theirs] == 0
        if not (rank[theirs] < rank[mine] or within or foundation):
            wrong.append(f"{'.'.join(module)} imports {'.'.join(target)}")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_run_down(path: Path) -> None:
    assert not wrong_arrows(path.read_text(), module_name(path), path.name == "__init__.py")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("graphmod.activations", "from .curves import measure"),  # up
        ("graphmod.graphs.knn", "from ..activations import layer_names"),  # sideways
        ("graphmod.graphs.knn", "from .mutual_knn import mutual_knn_graph"),  # between members
        ("graphmod.graphs._topk", "from graphmod.metrics.modularity import modularity"),
        ("graphmod.plots.curve", "from .. import models"),
        ("graphmod.samples", "import graphmod.curves"),
        ("graphmod.communities", "from .mixing import class_mixing"),
        ("graphmod.metrics.modularity", "from ..communities import leiden"),
        ("graphmod.curves", "from graphmod import modularity"),
        ("graphmod.curves", "from analyses import modularity_curve"),
        ("graphmod.reports", "from .datasets import load"),
        ("analyses.train", "from analyses.modularity_curve import main"),
    ],
)
def test_an_import_turned_round_is_seen(module: str, line: str) -> None:
    assert wrong_arrows(line, tuple(module.split(".")))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    tree = ast.parse(path.read_text())
    top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    found = {target[0] for target in imports(ast.unparse(top), module_name(path), path.name == "__init__.py") if target}
    assert not found & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_two_files_know_igraph_and_one_leidenalg(path: Path) -> None:
    found = {target[0] for target in imports(path.read_text(), module_name(path), path.name == "__init__.py") if target}
    assert found & {"igraph", "leidenalg"} <= {
        "communities.py": {"igraph", "leidenalg"},
        "exchange.py": {"igraph"},
    }.get(path.name, set())


@pytest.mark.parametrize("path", sorted((ROOT / "analyses").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_study_is_one_function_without_arithmetic_on_tensors(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)] == ["main"]
    assert len(path.read_text().splitlines()) <= 120
    assert ast.get_docstring(tree)
    assert any(isinstance(node, ast.Assign) and node.targets[0].id == "SMOKE" for node in tree.body)
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert not main.args.args
    assert main.args.kwonlyargs


# --- nothing that a file says is run ---

RUNS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.load",
    "torch.jit.load",
    "torch.package",
}
SAFE = {
    "torch.load": ("weights_only", "True"),
    "np.load": ("allow_pickle", "False"),
    "np.lib.format.read_array": ("allow_pickle", "False"),
}
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}


def ways_in(source: str) -> list[str]:
    """Calls and imports with which a file could be run."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) and not node.level else None
            names = [module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [name for name in names if name.split(".")[0] in PICKLERS]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).replace("numpy.", "np.")
            said = {word.arg: ast.unparse(word.value) for word in node.keywords}
            option, value = SAFE.get(name, ("shell", "False"))
            unsafe = said.get(option, None if name in SAFE else "False") != value
            if unsafe or name in RUNS or name.endswith("read_pickle"):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_a_file_says_is_run(path: Path) -> None:
    assert not ways_in(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "np.lib.format.read_array(file)",
        "pd.read_pickle(path)",
        "eval(text)",
        "exec(text)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "yaml.load(file)",
        "torch.jit.load(path)",
    ],
)
def test_a_way_in_is_seen(line: str) -> None:
    assert ways_in(line)


def test_every_file_has_its_test() -> None:
    stages = {name.lstrip("_") for rank in RANKS[1:-2] for name in rank} | {
        "distributed",
        "finished",
        "inputs",
        "manifest",
        "samples",
    }
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert stages <= tests


def test_every_folder_is_packaged() -> None:
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in MODULES}
    assert listed == found | {"graphmod.data"}
