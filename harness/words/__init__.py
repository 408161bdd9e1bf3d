"""What people write and read: names, values, recipes, reasons; no word of it knows what a model is."""
