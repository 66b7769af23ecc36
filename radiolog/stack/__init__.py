"""The embedded servers: Apache Kafka, Apicurio Registry and PostgreSQL without Docker, root or a system Java."""
