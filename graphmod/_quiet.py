"""Imports torch_geometric once without the warnings that its own import raises on recent versions of torch."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=r".*torch\.jit\.script.* is deprecated", category=FutureWarning)
    import torch_geometric  # noqa: F401
