"""The posterior of model parameters from calibration arms."""
