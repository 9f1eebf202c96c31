"""What `pip install .` installs, and what `import graphmod` costs."""

import configparser
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import graphmod

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_holds_the_package_the_studies_and_the_data(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("graphmod", "analyses", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    files = [path for name in ("graphmod", "analyses") for path in (source / name).rglob("*.*")]
    expected = {str(path.relative_to(source)) for path in files}
    expected |= {"graphmod/data/digits.safetensors", "graphmod/data/reference/lu2022-curves.csv"}
    assert inside >= expected
    assert not [name for name in inside if name.startswith(("tests/", "data/"))]
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    code = "import graphmod, graphmod.models as m; m.build('digits', weights='default'); print(graphmod.__file__)"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(installed)!r}); {code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == str(installed / "graphmod/__init__.py")
    ran = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(source / "graphmod/__init__.py")  # in a clone the files beside are found


def test_version_stands_in_one_place() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == graphmod.__version__
    assert graphmod.__version__ not in (ROOT / "pyproject.toml").read_text()
    assert f"## {graphmod.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_import_is_quick_and_quiet() -> None:
    code = (
        "import sys, graphmod; "
        "print(*{'igraph', 'leidenalg', 'sklearn', 'matplotlib', 'seaborn', 'torchvision'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not ran.stdout.strip()
    assert not ran.stderr


def test_embedded_files_are_those_that_the_readme_of_data_describes() -> None:
    rows = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (ROOT / "data/README.md").read_text(), re.MULTILINE)
    embedded = {path for path in (ROOT / "data").rglob("*") if path.suffix in (".safetensors", ".csv")}
    assert {ROOT / "data" / name for name, _ in rows} == embedded
    for name, digest in rows:
        assert hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest() == digest


def test_published_numbers_are_those_beside_the_checkout(shared: Path) -> None:
    name = "lu2022-curves.csv"
    assert (ROOT / "data/reference" / name).read_bytes() == (shared / name).read_bytes()


def test_public_names_are_documented() -> None:
    for name in graphmod.__all__:
        text = getattr(graphmod, name).__doc__
        assert "Example:" in text, name
        assert "Args:" in text, name
