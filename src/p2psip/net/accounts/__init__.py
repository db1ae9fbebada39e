"""The store of an enrollment server: SQLite in a file, or PostgreSQL; both by SQLAlchemy, which is loaded here only."""
