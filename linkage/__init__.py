"""Pairs, clusters and the person registry, from tokens alone: no identifier and no key gets here."""
