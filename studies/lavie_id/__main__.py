"""python -m studies.lavie_id: see `routes`."""

import sys

from slotid_core.errors import SlotIDError
from studies.lavie_id.routes import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"studies.lavie_id: {error}")
