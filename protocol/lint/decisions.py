"""What only people can decide: places of an agreement where a decision has not been written down yet."""

from protocol.documents import Faults

TO_DECIDE = "TO DECIDE"
"""A text that begins so is still to be decided; `linkarms agreement init` writes such texts."""


def check_decisions(faults: Faults) -> None:
    """Add a fault for each text that says that something is to be decided, with what that is."""
    for file, entry, text in faults.texts():
        if text.startswith(TO_DECIDE):
            what = text.removeprefix(TO_DECIDE).lstrip(": ").rstrip(".")
            faults.add(file, entry, f"is still open. Decide, and write here: {what or 'what you agreed'}.")
