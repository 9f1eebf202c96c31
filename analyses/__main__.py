"""Lists the studies, a line each."""

import importlib

from graphmod._family import members


def main() -> None:
    """Prints the command and the first sentence of every study."""
    for name in members("analyses"):
        summary = (importlib.import_module(f"analyses.{name}").__doc__ or "").splitlines()[0]
        print(f"python -m analyses.{name:<20} {summary}")


if __name__ == "__main__":
    main()
