"""What each recipe for Wan takes, by the arithmetic of its dry run: docs/recipes.md.

python -m tools.recipe_table           # print the page
python -m tools.recipe_table --write   # write it
"""

import argparse
import sys
from pathlib import Path

from slotid_core.comfy_runtime import PACK
from slotid_core.training.config import read_config
from slotid_core.training.cost import UTILIZATION
from slotid_core.training.dry_run import estimate

CONFIGS = PACK / "slotid_core" / "training" / "configs"
PAGE = PACK / "docs" / "recipes.md"
# By what a recipe's name says: how many GPUs, and one of `cost.GPUS`.
MACHINES = {"_24gb": (1, "rtx_4090"), "_8x80gb": (8, "h100")}

HEAD = f"""# What the recipes for Wan take

Made by `python -m tools.recipe_table --write` from the dry runs (`--dry-run --gpu`), which need neither the model nor
the data. On small models the arithmetic is within a tenth of what a real step computes and keeps alive. Seconds and
days follow from the makers' figures of the GPUs, at {UTILIZATION:.0%} of their rate, and have not been measured on one.
*24 GB* is an RTX 4090, *8 × 80 GB* are eight H100. Nobody has trained an adapter for a real Wan with these recipes yet.

Memory is of each GPU, in GiB: frozen weights, what trains with gradients and AdamW, activations, other networks. *Host*
is pinned memory of the host for swapped blocks and experts. *Disk* is for a thousand samples' videos and prompts.

| recipe | GPUs | clip | frozen | trained | activations | other | together | host | seconds a step | days | disk |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def page() -> str:
    return HEAD + "\n".join(row(path) for path in recipes()) + "\n"


def recipes() -> list[Path]:
    return sorted(CONFIGS.glob("wan_*.yaml"))


def machine_of(path: Path) -> tuple[int, str]:
    """GPUs of a recipe, and which."""
    return next(machine for part, machine in MACHINES.items() if part in path.stem)


def row(path: Path) -> str:
    config = read_config(path)
    gpus, gpu = machine_of(path)
    told = estimate(config, gpus, gpu)
    names = ("frozen", "trained", "activations", "other_networks", "memory", "host")
    memory = [f"{told[f'{name}_gib_a_gpu']:.1f}" for name in names]
    time = [f"{told['seconds_by_arithmetic']:.0f}", f"{told['days_by_arithmetic']:.1f}"]
    clip = "{} × {} × {}".format(*config.data.expected_size)
    disk = f"{told['latents_gib_a_thousand_samples']:.1f}"
    machine = "24 GB" if gpus == 1 else f"{gpus} × 80 GB"
    return "| " + " | ".join([f"`{path.stem}`", machine, clip, *memory, *time, disk]) + " |"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.recipe_table", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the page")
    if parser.parse_args(arguments).write:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
