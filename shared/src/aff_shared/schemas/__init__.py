"""Requests and responses of both services."""
