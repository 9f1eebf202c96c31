"""Pictures of tables, an open family: the file `<name>.py` holds `plot_<name>(table, ...) -> Axes`.

A picture is drawn where `ax` says, or in a figure of its own; a picture of several panels gives back the first of them.
Nothing is saved or shown here: `ax.figure.savefig(...)` writes it.
"""
