"""Models of endpoints: what each kind of outcome says about a treatment, as a posterior."""


class AnalysisError(ValueError):
    """Data or priors that no analysis can be made of; the message holds every reason."""
