"""Tables of curves: their means over repeats, and how far they agree."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pandas as pd


@contextmanager
def constant_allowed() -> Iterator[None]:
    """Lets the rank correlation with a constant curve be NaN without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="An input array is constant")
        yield


def summarize(values: pd.DataFrame) -> pd.DataFrame:
    """Averages a table of `measure` over its repeats.

    Args:
        values: The table.

    Returns:
        One row a layer: `layer`, `depth`, a column for each metric with its mean, then one `<metric>_std` each with the
        sample standard deviation over the repeats (NaN for a single one), and `num_repeats`. What is NaN in one repeat
        is NaN here.

    Raises:
        ValueError: If it is no such table.

    Example:
        >>> one = pd.DataFrame({"repeat": 0, "layer": "fc", "depth": 1, "metric": "modularity", "value": [0.5]})
        >>> summarize(one).to_dict("records")
        [{'layer': 'fc', 'depth': 1, 'modularity': 0.5, 'modularity_std': nan, 'num_repeats': 1}]
    """
    for column in ("metric", "repeat", "layer", "depth", "value"):
        if column not in values:
            raise ValueError(f"the table has no column {column!r}; pass the one that measure returns")
    metrics = list(values.metric.unique())
    groups = values.groupby(["layer", "depth", "metric"], sort=False).value
    spread = pd.DataFrame({"mean": groups.mean(), "std": groups.std()}).mask(groups.count() < groups.size()).unstack()
    table = spread["mean"][metrics].join(spread["std"][metrics].add_suffix("_std"))
    table = table.reset_index().sort_values("depth", ignore_index=True)
    table["num_repeats"] = values.repeat.nunique()
    return table.rename_axis(columns=None)


def rank_correlation(curve: pd.DataFrame, reference: str = "modularity") -> pd.DataFrame:
    """Says how far each metric puts the layers in the order that Q puts them in.

    Args:
        curve: A table of `summarize`.
        reference: The metric that the others are compared with.

    Returns:
        One row a metric, the reference left out: `metric`, `spearman`, its rank correlation with the reference over the
        layers, in [−1, 1] (NaN for a constant one), and `num_layers`, those in which it and the reference have a value.

    Raises:
        ValueError: If the table has no such metric.

    Example:
        >>> curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.2], "purity": [0.3, 0.9]})
        >>> rank_correlation(curve).to_dict("records")
        [{'metric': 'purity', 'spearman': 1.0, 'num_layers': 2}]
    """
    others = {"layer", "depth", "num_repeats", *(f"{name}_std" for name in curve)}
    metrics = [name for name in curve if name not in others]
    if reference not in metrics:
        raise ValueError(f"the table has no metric {reference!r}; it has {', '.join(map(str, metrics))}")
    order = curve[metrics].corr(method="spearman")[reference].drop(reference)
    table = order.rename_axis("metric").rename("spearman").reset_index()
    both = curve[metrics].notna().mul(curve[reference].notna(), axis=0).sum()
    table["num_layers"] = table.metric.map(both)
    return table


def compare_curves(curve: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Says in numbers how far curves agree, by relative depth: the others are stretched from first layer to last.

    Args:
        curve: A table of `modularity_curve`.
        others: Tables with `depth` and `modularity`, such as `published_curve` gives, by name.

    Returns:
        One row for each of the others: `other`, `num_layers` (its own), `spearman`, the rank correlation over the
        layers of the curve (NaN where one of both is constant), `largest_difference` of Q in absolute value, and `at`,
        the layer where that is.

    Raises:
        ValueError: If a curve has one layer only.

    Example:
        >>> curve = pd.DataFrame({"layer": list("abc"), "depth": [1, 2, 3], "modularity": [0.1, 0.2, 0.75]})
        >>> other = pd.DataFrame({"depth": [1, 2], "modularity": [0.1, 0.7]})
        >>> compare_curves(curve, {"a shorter one": other}).round(3).to_numpy().tolist()
        [['a shorter one', 2, 1.0, 0.2, 'b']]
    """
    if min(map(len, [curve, *others.values()])) < 2:
        raise ValueError("a curve of one layer cannot be compared with others; select two layers or more")
    rows = []
    for name, other in others.items():
        other = other.sort_values("depth")
        relative = (other.depth - other.depth.min()) / (other.depth.max() - other.depth.min())
        own = (curve.depth - curve.depth.min()) / (curve.depth.max() - curve.depth.min())
        stretched = pd.Series(np.interp(own, relative, other.modularity), curve.index)
        difference = (curve.modularity - stretched).abs()
        with constant_allowed():
            spearman = curve.modularity.corr(stretched, method="spearman")
        rows.append((name, len(other), spearman, difference.max(), curve.layer.iloc[int(difference.argmax())]))
    return pd.DataFrame(rows, columns=["other", "num_layers", "spearman", "largest_difference", "at"])
