"""Pictures of tables, an open family: the file `<name>.py` holds `plot_<name>(table, ...) -> Axes`.

A picture is drawn in a figure of its own, some of a single panel also into a given `ax`; of several panels the first is
returned.
Nothing is saved or shown here: `ax.figure.savefig(...)` writes it.
"""
