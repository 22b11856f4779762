"""What an adapter is worth, on people that no training has seen."""
