"""Layers that add nothing: where the modularity curve is level or falls."""

import pandas as pd

PHASES = ("separation", "plateau", "degradation")


def redundant_layers(values: pd.DataFrame, *, confidence: float = 0.95, tolerance: float | None = None) -> pd.DataFrame:
    """Reads a modularity curve as its authors do: which layers separate the classes, and which idle or mix them.

    A layer's gain is its Q less that of the layer before, on the same samples. Lu et al. name plateau and degradation
    by eye; here the repeats decide. A layer is `separation` if the confidence interval of its mean gain (Student's t
    over the repeats) lies above 0, `degradation` if it lies below, and `plateau` if it holds 0.

    Args:
        values: A table of `graphmod.measure` over at least two repeats, with the metric `modularity`.
        confidence: How often the interval of a gain is to hold, in (0, 1).
        tolerance: Half the width of the interval, at least 0, instead of the one that the repeats give; then a single
            repeat is enough.

    Returns:
        One row a layer: `layer`, `depth`, `modularity` (mean), `gain`, `gain_low`, `gain_high`, `phase`; the first
        layer has no gain and no phase.

    Raises:
        ValueError: If the table has no modularity, or a single repeat and no tolerance; if confidence is not in (0, 1)
            or the tolerance negative.

    Example:
        >>> q = [0.1, 0.1, 0.8, 0.12, 0.09, 0.85]
        >>> values = pd.DataFrame({"repeat": [0, 0, 0, 1, 1, 1], "layer": list("abcabc"), "depth": [1, 2, 3] * 2})
        >>> redundant_layers(values.assign(metric="modularity", value=q)).phase.tolist()[1:]
        ['plateau', 'separation']

    Reference:
        Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, section 4.4.
    """
    from scipy import stats

    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1); got {confidence}")
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0; got {tolerance}")
    rows = values[values.metric == "modularity"]
    if rows.empty:
        raise ValueError("the table has no metric 'modularity'; measure the graphs with modularity_terms")
    q = rows.pivot_table(index="repeat", columns="depth", values="value")
    if len(q) < 2 and tolerance is None:
        raise ValueError("one repeat says nothing about chance; measure several repeats, or state a tolerance")
    gain = q.diff(axis=1)
    reach = tolerance
    if reach is None:
        reach = gain.std() * stats.t.ppf((1 + confidence) / 2, len(q) - 1) / len(q) ** 0.5
    table = rows.drop_duplicates("depth")[["layer", "depth"]].set_index("depth").sort_index()
    table["modularity"], table["gain"] = q.mean(), gain.mean()
    table["gain_low"], table["gain_high"] = table.gain - reach, table.gain + reach
    table["phase"] = "plateau"
    table.loc[table.gain_low > 0, "phase"] = "separation"
    table.loc[table.gain_high < 0, "phase"] = "degradation"
    table["phase"] = table.phase.where(table.gain.notna())
    return table.reset_index()[["layer", "depth", "modularity", "gain", "gain_low", "gain_high", "phase"]]


def count_phases(curves: pd.DataFrame) -> pd.DataFrame:
    """Counts the layers of each phase of several networks and data sets.

    Args:
        curves: Tables of `redundant_layers` one under the other, with columns `network` and `dataset`.

    Returns:
        One row a network and data set: `network`, `dataset`, `num_layers`, the number of layers of each phase
        (`separation`, `plateau`, `degradation`), `first_q`, `lowest_q` and `last_q`.

    Example:
        >>> curves = pd.DataFrame({"network": "vgg11", "dataset": "digits", "depth": [1, 2], "modularity": [0.1, 0.8]})
        >>> count_phases(curves.assign(phase=[None, "separation"])).iloc[0, 2:].tolist()
        [2.0, 1.0, 0.0, 0.0, 0.1, 0.1, 0.8]
    """
    groups = curves.sort_values("depth", kind="stable").groupby(["network", "dataset"], sort=False)
    table = groups.modularity.agg(num_layers="size", first_q="first", lowest_q="min", last_q="last")
    for place, phase in enumerate(PHASES, start=1):
        counted = (curves.phase == phase).groupby([curves.network, curves.dataset]).sum()
        table.insert(place, phase, counted.reindex(table.index))
    order = curves.drop_duplicates(["network", "dataset"])[["network", "dataset"]]
    return order.merge(table.reset_index())
