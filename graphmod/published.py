"""The curves of Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022."""

from collections.abc import Sequence

import pandas as pd

from ._files import shipped


def published_curve(network: str, dataset: str = "CIFAR-10", condition: str = "clean") -> pd.DataFrame:
    """Returns a curve of Lu et al. 2022, read off the vector figures of their poster to three digits.

    Args:
        network: `"ResNet18"`, `34`, `50`, `101`, `152`, `"VGG11"`, `13`, `16`, `19`.
        dataset: `"CIFAR-10"`, `"CIFAR-100"` or `"ImageNet-50"`.
        condition: `"clean"`, or of ResNet18 and VGG16 on CIFAR-10 the name of an attack, or `"clean-adv-panel"`, the
            clean curve in the figure of the attacks, which is not the one of the other figures.

    Returns:
        One row a layer: `depth` (from 1) and `modularity`.

    Raises:
        ValueError: If there is no such curve; the message lists those that there are.

    Example:
        >>> published_curve("ResNet18").modularity.max()
        np.float64(0.836)
    """
    rows = published_curves()
    for column, wanted in {"condition": condition, "dataset": dataset, "network": network}.items():
        if wanted not in (there := sorted(set(rows[column]))):
            raise ValueError(f"no curve was published for the {column} {wanted!r}; there are {', '.join(there)}")
        rows = rows[rows[column] == wanted]
    return rows[["depth", "modularity"]].reset_index(drop=True)


def published_curves() -> pd.DataFrame:
    """Returns all curves of Lu et al. 2022: `network`, `dataset`, `condition`, `depth` (or epoch), `modularity`.

    Example:
        >>> published_curves().groupby("condition").network.nunique()["clean"]
        np.int64(9)
    """
    names = {"model": "network", "index": "depth", "value": "modularity"}
    return pd.read_csv(shipped("reference/lu2022-curves.csv")).rename(columns=names)


def published_attacks(network: str, attacks: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Returns the curves of Lu et al. 2022 under those of some attacks that they ran, and the clean one, by name.

    The clean one is that of the same figure, `"clean-adv-panel"`, where there is one.

    Args:
        network: `"ResNet18"` or `"VGG16"`, on CIFAR-10.
        attacks: Names of attacks.

    Example:
        >>> list(published_attacks("ResNet18", ["pgd", "one_pixel", "noise"]))
        ['clean', 'pgd', 'one_pixel']
    """
    curves = published_curves()
    ran = {condition.lower(): condition for condition in curves.condition.unique()}
    names = {name: ran[key] for name in ("clean", *attacks) if (key := name.replace("_", "")) in ran}
    if "clean-adv-panel" in set(curves.condition[curves.network == network]):
        names["clean"] = "clean-adv-panel"
    return {name: published_curve(network, condition=condition) for name, condition in names.items()}
