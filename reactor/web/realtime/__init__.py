"""Responses that last: server-sent events."""
