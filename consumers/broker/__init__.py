"""The broker, RabbitMQ or SQS: taking deliveries, settling them, sending, and dead letters."""
