"""What the verbs of the command line share.

The model of a verb, its words, its help, the terminal, the stored run.
"""
