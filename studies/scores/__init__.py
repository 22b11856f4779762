"""What is each score worth? Recognisers on real faces, and what spoiling a picture does to them."""
