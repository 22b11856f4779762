"""Four systems on one backbone, one budget and one judge."""
