"""A package, because others install one of this name, which a folder without this file would lose to."""
