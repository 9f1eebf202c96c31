"""Graphs of samples, an open family: the file `<name>.py` holds `<name>_graph(x, k, ...) -> Data`.

Every member finds neighbours in `_topk.py`, weighs them, and makes its `Data` through `_build.py`.
"""
