"""Pointers, the task messages that carry them, and publishing to RabbitMQ."""
