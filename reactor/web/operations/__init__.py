"""Endpoints for operators: health checks, and metrics in Prometheus' format."""
