"""Fail if a file that would be committed is larger than it should be.

python -m tools.check_sizes [FILE ...]      # no file named: all of the repository
"""

import sys

from slotid_core.comfy_runtime import PACK
from tools.published import repository_files

LIMIT = 2**20
# What the demo and the tests run on: trained weights, each as small as it gets.
LARGER = {"slotid_core/toy_world/weights/": 16 * 2**20, "slotid_core/reference/portrait/weights/": 2 * 2**20}


def main(names: list[str]) -> int:
    failures = 0
    for name in names or sorted(repository_files()):
        limit = next((size for folder, size in LARGER.items() if name.startswith(folder)), LIMIT)
        size = (PACK / name).stat().st_size
        if size > limit:
            print(
                f"{name}: {size / 2**20:.1f} MiB, more than {limit / 2**20:.0f}. Make it smaller, or keep it elsewhere."
            )
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
