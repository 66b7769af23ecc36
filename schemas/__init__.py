"""The contracts of the log: Avro schemas, typed events, topics, and the codec between bytes and events."""
