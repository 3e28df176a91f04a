"""Processes that work for a service: one way to start them, to ask them, and to do without those that die."""
