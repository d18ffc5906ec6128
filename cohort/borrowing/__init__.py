"""Borrowing: what evidence from outside a trial says about its control arm, and how much of it is taken over."""


class BorrowingError(ValueError):
    """Evidence or priors that nothing can be borrowed from or with; the message holds every reason, one a line."""
