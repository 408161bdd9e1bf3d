"""Tables, plots and the page of a finished benchmark: reads rows, never a model."""
