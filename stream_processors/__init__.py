"""The stages of the stream: preprocess and inference."""
