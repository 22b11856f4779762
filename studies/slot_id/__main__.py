"""python -m studies.slot_id: see `command`."""

import sys

from slotid_core.errors import SlotIDError
from studies.slot_id.command import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"studies.slot_id: {error}")
