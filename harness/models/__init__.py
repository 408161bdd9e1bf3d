"""Where models come from, how they are held, and how they reload."""
