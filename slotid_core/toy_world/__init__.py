"""A small world of drawn people, in which a Wan-format model family can be trained and measured on a laptop."""
