"""The animation and the page hold what they are given, and nothing that could run."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graphmod.animations import write_gif, write_html

EVIL = "</script><b>&\u2028@data@ ${x} \\"


def graphs(num_layers: int = 3, num_samples: int = 6) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "positions": generator.random((num_layers, num_samples, 2)),
        "edges": [generator.integers(0, num_samples, (2, 8)) for _ in range(num_layers)],
        "labels": np.arange(num_samples) % 3,
        "classes": ["cat", "dog", "frog"],
        "titles": [f"layer{i}" for i in range(num_layers)],
    }


def pairs(edges: np.ndarray) -> set[tuple[int, int]]:
    return {(min(i, j), max(i, j)) for i, j in edges.T.tolist() if i != j}


class Page(HTMLParser):
    """The elements of a page and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.inside: list[str] = []
        self.text: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "input"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag, "every element is closed in order"

    def handle_data(self, data: str) -> None:
        if self.inside:
            key = self.inside[-1]
            if key == "script":
                key += " " + self.tags[-1][1].get("type", "")
            self.text[key] = self.text.get(key, "") + data


def content(path: Path) -> tuple[Page, dict]:
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.inside
    return page, json.loads(page.text["script application/json"])


# --- the GIF ---


@pytest.mark.parametrize(("num_layers", "frames_per_step"), [(1, 4), (2, 1), (3, 5)])
def test_gif_has_its_frames(num_layers: int, frames_per_step: int, tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", **graphs(num_layers), frames_per_step=frames_per_step, size=120, pause=0.5)
    with Image.open(tmp_path / "a.gif") as image:
        image.load()
        assert getattr(image, "n_frames", 1) == (num_layers - 1) * frames_per_step + 1
        assert image.height == 120 + 10 * 120 // 125
        assert image.width > 120
        times = []
        for i in range(image.n_frames):
            image.seek(i)
            times.append(image.info["duration"])
    if num_layers > 1:
        assert [times[i] for i in range(0, len(times), frames_per_step)] == [500] * (num_layers - 1) + [1500]
        assert image.info["loop"] == 0


def test_gif_shows_classes_at_their_places_and_their_edges(tmp_path: Path) -> None:
    given = {"positions": [[[0, 0], [0, 1], [1, 1]]], "edges": [[[0, 1], [1, 2]]], "labels": [0, 0, 1]}
    write_gif(tmp_path / "a.gif", **given, classes=["cat", "dog"], titles=["conv1"], size=400)
    with Image.open(tmp_path / "a.gif") as image:
        pixels = np.array(image.convert("RGB"))[32:, :400].astype(int)
    at = {0: pixels[388, 12], 1: pixels[12, 12], 2: pixels[12, 388]}
    assert at[0].tolist() == at[1].tolist() == [31, 119, 180]
    assert at[2].tolist() == [255, 127, 14]
    assert pixels[200, 200].tolist() == [255, 255, 255]
    inside, between = pixels[200, 8:17].min(axis=0), pixels[8:17, 200].min(axis=0)
    assert abs(inside - [31, 119, 180]).max() < 40, "an edge inside a class has its colour"
    assert np.ptp(between) == 0
    assert 180 < between[0] < 240, "one between classes is grey"


def test_an_edge_that_goes_fades(tmp_path: Path) -> None:
    still = {"positions": [[[0, 0], [0, 1]]] * 2, "labels": [0, 0], "classes": ["cat"], "titles": ["a", "b"]}
    write_gif(tmp_path / "a.gif", **still, edges=[[[0], [1]], [[], []]], size=400, frames_per_step=4)
    dark = []
    with Image.open(tmp_path / "a.gif") as image:
        for i in range(image.n_frames):
            image.seek(i)
            dark.append(255 - np.array(image.convert("RGB"))[232, 8:17, 0].min())
    assert dark == sorted(dark, reverse=True)
    assert dark[0] > 150
    assert dark[-1] == 0


def test_gif_with_a_hundred_classes(tmp_path: Path) -> None:
    given = graphs() | {"classes": [f"class {i}" for i in range(100)]}
    write_gif(tmp_path / "a.gif", **given, size=120, frames_per_step=1)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 3


# --- the page ---


def test_page_holds_the_graphs(tmp_path: Path) -> None:
    given = graphs()
    table = pd.DataFrame({"modularity": [0.1, np.nan, 0.5], "maximum": 0.9})
    thumbnails = np.random.default_rng(0).random((6, 3, 8, 8))
    write_html(tmp_path / "a.html", **given, curve=table, thumbnails=thumbnails, ids=[f"{i}.png" for i in range(6)])
    page, data = content(tmp_path / "a.html")
    np.testing.assert_allclose(data["positions"], given["positions"], atol=1e-4)
    assert [{tuple(pair) for pair in layer} for layer in data["edges"]] == [pairs(one) for one in given["edges"]]
    assert data["labels"] == given["labels"].tolist()
    assert data["curve"] == [0.1, None, 0.5]
    assert data["maximum"] == [0.9] * 3
    assert data["ids"][5] == "5.png"
    assert len(set(data["colors"])) == 3
    for text, pixels in zip(data["thumbnails"], thumbnails, strict=True):
        head, _, code = text.partition(",")
        assert head == "data:image/png;base64"
        image = np.array(Image.open(io.BytesIO(base64.b64decode(code))))
        assert abs(image.transpose(2, 0, 1) - 255 * pixels).max() <= 0.5
    ids = {attributes.get("id") for _, attributes in page.tags}
    script = page.text["script module"]
    assert set(re.findall(r'getElementById\("(\w+)"\)', script)) | {"graph", "curve", "slider", "play", "card"} <= ids


def test_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    write_html(tmp_path / "a.html", **graphs(), thumbnails=np.zeros((6, 1, 200, 100)))
    page, data = content(tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert not re.search(r"https?:|//\w+\.|url\(|@import|fetch\(|XMLHttp|innerHTML|eval\(", text)
    assert not [attributes for _, attributes in page.tags if {"src", "href"} & set(attributes)]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    (policy,) = [one["content"] for tag, one in page.tags if "http-equiv" in one]
    assert "default-src 'none'" in policy
    image = Image.open(io.BytesIO(base64.b64decode(data["thumbnails"][0].partition(",")[2])))
    assert image.size == (32, 64), "scaled down, both sides alike"


def test_long_names_of_classes_are_broken_inside_the_page(tmp_path: Path) -> None:
    write_html(tmp_path / "a.html", **graphs())
    page, _ = content(tmp_path / "a.html")
    style = re.sub(r"\s+", " ", page.text["style"])
    assert "#legend span:last-child { min-width: 0; overflow-wrap: anywhere; }" in style
    assert re.search(r"#legend button \{[^}]*max-width: 100%", style)


def test_names_cannot_break_out(tmp_path: Path) -> None:
    plain = tmp_path / "plain.html"
    write_html(plain, **graphs(), ids=list("abcdef"))
    given = graphs() | {"classes": [EVIL, "<!--", "]]>"], "titles": ["<script>", EVIL, "'\""]}
    write_html(tmp_path / "a.html", **given, ids=[EVIL] * 6, heading=EVIL)
    page, data = content(tmp_path / "a.html")
    assert data["classes"] == given["classes"]
    assert data["titles"] == given["titles"]
    assert data["ids"] == [EVIL] * 6
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in content(plain)[0].tags]
    assert page.text["script module"] == content(plain)[0].text["script module"]
    assert page.text["h1"] == page.text["title"] == EVIL


# --- both ---


@pytest.mark.parametrize("write", [write_gif, write_html])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros((3, 5, 2))}, r"positions must have shape \[L, 6, 2\]; got \[3, 5, 2\]"),
        ({"positions": np.full((3, 6, 2), 2)}, "positions must lie in the unit square; got 2 to 2"),
        ({"positions": np.full((3, 6, 2), np.nan)}, "positions must lie in the unit square; got nan to nan"),
        ({"titles": ["a"]}, "expected edges and titles of 3 layers; got 3 and 1"),
        ({"labels": [0, 1, 2, 3, 0, 1]}, "labels must be numbers of 3 classes; got 0 to 3"),
        ({"edges": [[[0, 1]]] * 3}, r"edges of 'layer0' must have shape \[2, E\]; got \[1, 2\]"),
        ({"edges": [[[0], [6]]] * 3}, "edges of 'layer0' must be numbers of 6 samples; got one outside"),
    ],
)
def test_bad_graphs_leave_nothing(write: Any, change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "a", **(graphs() | change))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"frames_per_step": 0}, {"size": 50}, {"pause": 0.01}, {"pause": float("nan")}])
def test_bad_gif(options: dict, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="expected frames_per_step of at least 1, size of at least 100 and pause of at"
    ):
        write_gif(tmp_path / "a.gif", **graphs(), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": ["a"]}, "expected 6 ids, one for each sample; got 1"),
        (
            {"curve": pd.DataFrame({"modularity": [1]})},
            "column modularity and 3 rows, one for each layer; got 1 rows of",
        ),
        ({"curve": pd.DataFrame({"q": [1] * 3})}, "the curve must have a column modularity and 3 rows.* of q"),
        ({"thumbnails": np.zeros((5, 1, 8, 8))}, r"thumbnails must have shape \[6, C, H, W\] of one channel or three"),
        ({"thumbnails": np.zeros((6, 2, 8, 8))}, r"one channel or three; got \[6, 2, 8, 8\]"),
        ({"thumbnails": np.full((6, 1, 8, 8), 2)}, r"thumbnails must be in \[0, 1\]; got 2 to 2"),
    ],
)
def test_bad_page(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_html(tmp_path / "a.html", **graphs(), **options)
    assert not list(tmp_path.iterdir())


def test_an_earlier_file_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for write, name in ((write_gif, "a.gif"), (write_html, "a.html")):
        write(tmp_path / name, **graphs())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", full)
    monkeypatch.setattr(Path, "write_text", full)
    for write, name in ((write_gif, "a.gif"), (write_html, "a.html")):
        with pytest.raises(OSError, match="no space left"):
            write(tmp_path / name, **graphs(2))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
