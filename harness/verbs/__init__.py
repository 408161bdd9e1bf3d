"""The verbs of the command line, a file each.

A pydantic model whose fields are the words that the verb takes.
"""
