"""The OpenAPI document: what routes say about themselves, schemas, documentation pages."""
