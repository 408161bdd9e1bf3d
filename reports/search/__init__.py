"""What a search did: its candidates, its summary, how searchers agree."""
