"""What a new version of the agreement means to those who send data, to those who read them, and to those in them."""

from protocol.changes.classify import classify_changes
from protocol.changes.kinds import KINDS, Audience, Effect, Kind
from protocol.changes.model import Change, ChangeReport, Step

__all__ = ["KINDS", "Audience", "Change", "ChangeReport", "Effect", "Kind", "Step", "classify_changes"]
