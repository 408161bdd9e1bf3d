"""What a report is written as: a file a format, found by name, and the folder that holds them."""
