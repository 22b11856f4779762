"""Run every benchmark of this folder and print one table of ratios."""

import importlib
import pkgutil

import benchmarks

# `portraits` needs clips and a network of yours, `step_of_commits` a commit to compare with.
NOT_BENCHMARKS = {"live_bytes", "paired", "portraits", "step_of_commits", "__main__"}

print(f"{'claim: first / second':<78} median   [middle half]")
for module in pkgutil.iter_modules(benchmarks.__path__):
    if module.name not in NOT_BENCHMARKS:
        for ratio in importlib.import_module(f"benchmarks.{module.name}").run():
            print(ratio, flush=True)
