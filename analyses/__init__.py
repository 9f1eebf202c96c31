"""Studies: each file is one, `python -m analyses.NAME` runs it, `python -m analyses` lists them."""
