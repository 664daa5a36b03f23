"""Processes: serving until a signal, loading an application, replacing it when its files change.

Read serve.py first (run one application until a signal), then options.py (where it listens, how it
logs), listening.py (its sockets and their roles), urls.py (where it can be opened), loader.py
(`package.module:name` to a handler), supervisor.py (the parent of processes that serve),
reloader.py (`--reload`: when the parent starts another one), child.py (the process that serves),
ipc.py (their messages), import_hook.py (the files that were imported), file_watcher.py (the files
that have changed), terminal.py (whether there is one), tls_options.py (the options of HTTPS) and
tls_start.py (certificates from options). No module here knows the path of a URL.
"""
