"""Decisions on posterior probabilities, and how often a design makes the right one."""


class DecisionError(ValueError):
    """A decision, design or scenario that cannot be used; the message holds every reason."""
