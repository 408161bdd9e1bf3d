"""The verbs of the command line, a file each: a pydantic model whose fields are the words that the verb takes."""
