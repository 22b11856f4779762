"""One file per claim, each printing a ratio. `python -m benchmarks` runs all of them."""
