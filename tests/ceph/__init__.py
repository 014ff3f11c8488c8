"""Tests on Ceph's gateway, which announces over AMQP to RabbitMQ."""
