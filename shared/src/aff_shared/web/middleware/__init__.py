"""Middleware of both services, one concern each."""
