"""Linkage side by side with its peers: the same sets, the same measures, a process of its own for every run."""
