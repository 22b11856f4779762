"""Experiments and their pages. A study imports `slotid_core`; `slotid_core` imports no study."""
