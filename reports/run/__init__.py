"""The rows of a run and the tables made of them."""
