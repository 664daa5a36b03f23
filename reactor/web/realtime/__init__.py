"""Responses that go on: server-sent events."""
