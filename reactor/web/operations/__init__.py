"""Endpoints for operators: health checks, and metrics in the format of Prometheus.

Read monitoring.py first, which serves them all, then health.py, metrics.py and process_metrics.py.
"""
