"""Pixel code, classifier, model bundles and the decisions made from what a model says."""
