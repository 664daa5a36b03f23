"""Processes: loading an application, watching its files, replacing the process that serves it.

Read loader.py first (`package.module:name` to a handler), then reloader.py (the parent of
`--reload`), child.py (the process that serves), import_hook.py (which files were imported) and
file_watcher.py (which of them have changed).
"""
