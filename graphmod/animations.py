"""Moving pictures of the graphs of all layers: a GIF, and a page that a reader can play, stop and look into.

It sees arrays and tables only. The page's text is in `animations.html`, with places for its heading and its data.
"""

import base64
import html
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ._files import atomic_file
from .plots._axes import MAX_CLASSES, distinct_colors, named_classes, short_titles
from .plots._graphs import checked_graphs, once

if TYPE_CHECKING:
    from PIL.Image import Image

Color = tuple[int, int, int]
WHITE, GREY, INK = (255, 255, 255), (200, 200, 200), (60, 60, 60)
PAGE = Path(__file__).with_suffix(".html")
SMOOTH = 2
"""A frame is drawn so many times larger than it is kept."""
LETTERS = 8
"""Least size of the letters in a GIF, in pixels."""
THUMBNAIL = 64
"""Larger images are scaled down to this side in the page."""


def write_gif(
    path: str | Path,
    positions: ArrayLike,
    edges: Sequence[ArrayLike],
    labels: ArrayLike,
    classes: Sequence[str],
    titles: Sequence[str],
    *,
    frames_per_step: int = 12,
    size: int = 480,
    pause: float = 0.7,
) -> None:
    """Writes an animation in which the samples move from layer to layer, whole or not at all.

    Each layer stands still for a while; between two, the edges that go fade and those that come appear. An edge inside
    a class has the class's colour, one between two classes is grey.

    Args:
        path: The file.
        positions: Positions `[L, N, 2]` in the unit square, such as `graphmod.embeddings.layer_positions` gives.
        edges: Edges of each layer, integers `[2, E]`; directions do not matter.
        labels: Class of each sample, integers `[N]`.
        classes: Names of the classes, by label; the legend has those that are there, at most 50.
        titles: What is written over each layer; of a long first line, the layer's name, only the end.
        frames_per_step: Frames from one layer to the next, at least 1: (L − 1) · frames_per_step + 1 in all.
        size: Side of the graph's picture in pixels, at least 100; the names of the classes stand at its right.
        pause: Seconds for which a layer stands still, at least 0.1; three times as long at the end.

    Raises:
        ValueError: If positions are not `[L, N, 2]`, edges or titles not those of L layers, an edge names a sample that
            is not there, a label has no class, or an option is too small.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "graph.gif"
        >>> moves = [[[0, 0], [1, 1]], [[0, 0], [0, 1]]]
        >>> write_gif(path, moves, [[[0], [1]], [[0], [1]]], [0, 1], ["cat", "dog"], ["conv1", "fc"])
        >>> path.read_bytes()[:6]
        b'GIF89a'
    """
    if frames_per_step < 1 or size < 100 or not pause >= 0.1:
        raise ValueError(
            "expected frames_per_step of at least 1, size of at least 100 and pause of at least 0.1; got "
            f"{frames_per_step}, {size} and {pause}"
        )
    from PIL.Image import Dither

    places, pairs, numbers = checked_graphs(positions, edges, labels, classes, titles)
    classes, titles = [str(name) for name in classes], [title.replace("\n", ": ") for title in short_titles(titles)]
    colors = _colors(len(classes))
    shown = [colors[c] for c in np.unique(numbers)]
    palette = _palette([GREY, INK, *shown[:: len(shown) // 254 + 1]])
    frames, times = [], []
    for at in range((len(places) - 1) * frames_per_step + 1):
        step, part = divmod(at, frames_per_step)
        frame = _frame(places, pairs, numbers, classes, titles, colors, step, part / frames_per_step, size)
        frames.append(frame.quantize(palette=palette, dither=Dither.NONE))
        times.append(50 if part else round(1000 * pause))
    times[-1] *= 3
    with atomic_file(path) as temporary:
        frames[0].save(
            temporary, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=False
        )


def write_html(
    path: str | Path,
    positions: ArrayLike,
    edges: Sequence[ArrayLike],
    labels: ArrayLike,
    classes: Sequence[str],
    titles: Sequence[str],
    curve: pd.DataFrame | None = None,
    thumbnails: ArrayLike | None = None,
    *,
    ids: Sequence[str] | None = None,
    heading: str = "Class separation, layer by layer",
) -> None:
    """Writes a page that shows the graphs of all layers: one file that needs no network, whole or not at all.

    A slider, a button and the arrow keys go through the layers. A sample that is pointed at shows its name, its class,
    its picture and the classes of its neighbours; a class in the legend can be switched off.

    Args:
        path: The file.
        positions: As in `write_gif`.
        edges: As in `write_gif`.
        labels: As in `write_gif`.
        classes: As in `write_gif`.
        titles: Names of the layers.
        curve: A table with `modularity` in a row for each of the L layers, and `maximum` if there is one; it is drawn
            over the slider.
        thumbnails: Images of the samples `[N, C, H, W]` in [0, 1], of one channel or three.
        ids: What each sample is called; its number if None.
        heading: The page's title.

    Raises:
        ValueError: As `write_gif`; if the curve does not have L rows, thumbnails or ids are not those of N samples.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "graph.html"
        >>> write_html(path, [[[0, 0], [1, 1]]], [[[0], [1]]], [0, 1], ["cat", "dog"], ["conv1"])
        >>> path.read_text()[:15]
        '<!doctype html>'
    """
    places, pairs, numbers = checked_graphs(positions, edges, labels, classes, titles)
    names = [str(i) for i in range(len(numbers))] if ids is None else [str(name) for name in ids]
    if len(names) != len(numbers):
        raise ValueError(f"expected {len(numbers)} ids, one for each sample; got {len(names)}")
    if curve is not None and (len(curve) != len(places) or "modularity" not in curve):
        raise ValueError(
            f"the curve must have a column modularity and {len(places)} rows, one for each layer; got {len(curve)} "
            f"rows of {', '.join(map(str, curve.columns))}"
        )
    content = {
        "positions": places.round(4).tolist(),
        "edges": [once(pair, np.ones(pair.shape[1]))[0].T.tolist() for pair in pairs],
        "labels": numbers.tolist(),
        "classes": [str(name) for name in classes],
        "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in _colors(len(classes))],
        "titles": [str(title) for title in titles],
        "ids": names,
        "curve": None if curve is None else _numbers(curve.modularity),
        "maximum": _numbers(curve.maximum) if curve is not None and "maximum" in curve else None,
        "thumbnails": None if thumbnails is None else list(_thumbnails(np.asarray(thumbnails), len(numbers))),
    }
    data = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":  # so that no name can end the element that holds the data
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    with atomic_file(path) as temporary:
        filled, page = {"heading": html.escape(heading), "data": data}, PAGE.read_text(encoding="utf-8")
        temporary.write_text(re.sub("@(heading|data)@", lambda place: filled[place[1]], page), encoding="utf-8")


# --- what both have in common ---


def _colors(num_classes: int) -> list[Color]:
    return [
        (round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in distinct_colors(num_classes)
    ]


def _mixed(color: Color, share: float) -> Color:
    """The colour laid over white, with this share of it."""
    red, green, blue = (round(255 + share * (part - 255)) for part in color)
    return red, green, blue


# --- the GIF ---


def _palette(colors: Sequence[Color]) -> "Image":
    """An image whose palette holds each colour in up to 8 shades to white, as 256 places allow."""
    from PIL import Image

    shades = min(8, max(1, 255 // len(colors)))  # more would put one so near to white that Pillow mistakes them
    mixed = [_mixed(color, (i + 1) / shades) for color in colors for i in range(shades)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for color in [WHITE, *mixed] for part in color])
    return palette


def _frame(
    places: np.ndarray,
    pairs: Sequence[np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    titles: Sequence[str],
    colors: Sequence[Color],
    step: int,
    part: float,
    size: int,
) -> "Image":
    """One frame: `part` of the way from layer `step` to the next."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    scale, after = SMOOTH * size, min(step + 1, len(places) - 1)
    fit = size // (LETTERS + 1)  # lines at the right
    named, names = named_classes(np.unique(labels), classes, min(fit - 1, MAX_CLASSES))
    lines = max(len(names), min(fit, 20))
    file = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    letters = (max(round(share * scale), SMOOTH * LETTERS) for share in (0.04, min(0.032, 0.8 / lines)))
    font, small = (ImageFont.truetype(file, number) for number in letters)
    head, dot = round(0.08 * scale), 0.009 * scale
    side = round(0.09 * scale + max(small.getlength(name) for name in names))
    picture = Image.new("RGB", (scale + side, scale + head), WHITE)
    pen = ImageDraw.Draw(picture)

    ease = part * part * (3 - 2 * part)
    place = places[step] + ease * (places[after] - places[step])
    x = (0.03 + 0.94 * place[:, 0]) * scale
    y = head + (0.97 - 0.94 * place[:, 1]) * scale
    now, then = ({(min(i, j), max(i, j)) for i, j in pairs[layer].T.tolist() if i != j} for layer in (step, after))
    both, shown = now & then, []
    for i, j in now | then if part else now:
        share = 1.0 if (i, j) in both else 1 - part if (i, j) in now else part
        shown.append((labels[i] == labels[j], share, i, j))
    for inside, share, i, j in sorted(shown):  # grey ones below, and pale ones
        color = _mixed(colors[labels[i]] if inside else GREY, share)
        pen.line([x[i], y[i], x[j], y[j]], fill=color, width=round(0.0035 * scale))
    for i, label in enumerate(labels):
        box = [x[i] - dot, y[i] - dot, x[i] + dot, y[i] + dot]
        pen.ellipse(box, fill=colors[label], outline=WHITE, width=round(0.002 * scale))

    pen.text((0.03 * scale, 0.45 * head), titles[after if part > 0.5 else step], fill=INK, font=font, anchor="lm")
    for line, name in enumerate(names):
        middle = head + scale * (line + 0.5) / lines
        if line < len(named):
            pen.ellipse([scale + dot, middle - dot, scale + 3 * dot, middle + dot], fill=colors[named[line]])
        pen.text((scale + 5 * dot, middle), name, fill=INK, font=small, anchor="lm")
    done = (step + part) / max(len(places) - 1, 1)
    pen.rectangle([0, head - 0.006 * scale, scale, head - 0.002 * scale], fill=_mixed(GREY, 0.5))
    pen.rectangle([0, head - 0.006 * scale, done * scale, head - 0.002 * scale], fill=INK)
    return picture.resize((picture.width // SMOOTH, picture.height // SMOOTH), Image.Resampling.BOX)


# --- the page ---


def _numbers(column: pd.Series) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in column]


def _thumbnails(images: np.ndarray, num_samples: int) -> Iterator[str]:
    """Images as the text of PNG files, whatever their size no larger than `THUMBNAIL`."""
    from PIL import Image

    if images.ndim != 4 or len(images) != num_samples or images.shape[1] not in (1, 3):
        raise ValueError(
            f"thumbnails must have shape [{num_samples}, C, H, W] of one channel or three; got {list(images.shape)}"
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"thumbnails must be in [0, 1]; got {images.min():g} to {images.max():g}")
    for pixels in (images * 255).round().astype(np.uint8).transpose(0, 2, 3, 1):
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
        yield "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
