"""Owns the private PostgreSQL, RabbitMQ and Redis of one machine, and what runs Tiercel on them."""

from config.heap import load_lean

load_lean()
