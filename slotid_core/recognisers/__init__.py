"""Face recognisers by name, each used where its file lies."""
