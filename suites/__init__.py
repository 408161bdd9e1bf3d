"""Task suites as data, with the items of the demo suite."""
