"""The database: engines and sessions, pipelined connections, rows as JSON parameters."""
