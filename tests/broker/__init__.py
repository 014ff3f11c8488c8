"""The loop on a real RabbitMQ."""
