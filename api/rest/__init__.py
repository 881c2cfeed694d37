"""The REST resources, one file each; every route asks the decision point (``dependencies.allowed``)."""
