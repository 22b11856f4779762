"""How much better a person is known by a clip than by one picture of it."""
