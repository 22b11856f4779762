"""How hard properties are tried: a few examples with every change, many in `make prove`."""

import os

MORE = int(os.environ.get("SLOTID_MORE_EXAMPLES", "1"))


def examples(count: int) -> int:
    return count * MORE
