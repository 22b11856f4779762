"""Run every benchmark of this folder and print one table of ratios."""

import importlib
import pkgutil

import benchmarks

NOT_BENCHMARKS = {"live_bytes", "paired", "portraits", "__main__"}  # `portraits` needs clips and a network of yours

print(f"{'claim: first / second':<78} median   [middle half]")
for module in pkgutil.iter_modules(benchmarks.__path__):
    if module.name not in NOT_BENCHMARKS:
        for ratio in importlib.import_module(f"benchmarks.{module.name}").run():
            print(ratio, flush=True)
