"""Numbers that a graph and its labels give, an open family: the file `<name>.py` holds `<name>(graph, ...) -> Tensor`.

A metric takes a `Data`, or a `Batch` of several, and reads the labels from `graph.y` unless it is given others. It
returns a float64 tensor, `[]` for a graph and `[B]` for a batch, or a dict of such tensors by name.
"""
