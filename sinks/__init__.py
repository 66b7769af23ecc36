"""The places that facts on the log are copied to."""
