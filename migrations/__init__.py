"""The schema's history; ``tiercel db upgrade`` brings a database to its end."""
