"""`python -m graphmod verify DIR`: is a result what it was when it was written?"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .manifest import MANIFEST, verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its status: 0, 1 if a result was changed, 2 if there is none."""
    parser = argparse.ArgumentParser(prog="python -m graphmod", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("verify", help="compares result folders with their manifests")
    command.add_argument("folders", nargs="+", metavar="DIR", help="folder that a study wrote")
    status = 0
    for folder in map(Path, parser.parse_args(arguments).folders):
        try:
            problems = verify(folder)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"error: {error}\n")
            status = 2
            continue
        for problem in problems:
            sys.stdout.write(f"{folder}: {problem}\n")
        if not problems:
            sys.stdout.write(f"{folder}: all files are as they were written, see {MANIFEST}\n")
        status = max(status, int(bool(problems)))
    return status


if __name__ == "__main__":
    sys.exit(main())
