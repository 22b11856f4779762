"""Does Slot-ID work in the toy world, and which of its parts make it work?"""
