"""The only code that talks to Kafka: clients, topics, the publisher, the stage runtime, bounded reads."""
