"""Text for calibration and training, and the items of the tasks."""
