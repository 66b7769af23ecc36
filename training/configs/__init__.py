"""Training configurations, one short Python file each."""
