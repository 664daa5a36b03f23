"""Access to the file system: paths that never leave a directory, locks, private files, and errors.

Read safe_path.py first (from path segments to open files), then locks.py (one change of a directory
at a time), private_files.py (files that only the server uses), trust.py (files that clients may
have uploaded) and disk_errors.py (from errno to status).
"""
