"""Fitting, calibrating and evaluating the models that `models` ships and serves."""
