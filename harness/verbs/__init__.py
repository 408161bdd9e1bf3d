"""The verbs of the command line, a file each: every verb takes the words after it and returns an exit code."""
