"""Two or more variants of a run, item by item: pairs, flips, sentences."""
