"""Normalisation, keys, tokens and allow-listed output: the only package that holds a key."""
