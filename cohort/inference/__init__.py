"""Bayesian fits: NUTS in NumPyro or PyMC, what may not be used of them, and whether the model itself is right."""
