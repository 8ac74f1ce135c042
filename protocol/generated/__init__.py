"""What is made from the agreement and can therefore not drift from it: templates, dictionary, matrix of viewers,
register of processing, schemas and pages. Nothing else than the agreement is read for it.
"""
