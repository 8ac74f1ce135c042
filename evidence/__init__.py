"""Measures, disclosure control and releases: the only way from rows about people to published figures."""
