"""The same worlds as the tests of the whole pipeline use."""

from tests.integration.pipeline.conftest import copy_of, empty_world, partnership, world

__all__ = ["copy_of", "empty_world", "partnership", "world"]
