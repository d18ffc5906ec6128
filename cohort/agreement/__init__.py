"""How far virtual arms are from real ones, and how sure of it one can be.

A test that is not significant is no evidence of agreement: with few real patients nothing is significant, and with many
virtual ones everything is. What counts here is where a real result lies in the prediction of a trial of its size, the
probability that two population values are within a margin stated beforehand, and a distance set against the distance
between two real samples of that size.
"""


class AgreementError(ValueError):
    """Arms that cannot be compared; the message holds every reason."""
