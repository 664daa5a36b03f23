"""Directories that are served: paths that cannot lead out, locks, errors of the disk.

Read safe_path.py first (from segments of a URL to an open file), then locks.py (one writer of a
name at a time), disk_errors.py (errno to status) and private_files.py (the server's own records).
"""
