"""How much does a real video look like the people it should show? Scores, each under the name of what it measures."""
