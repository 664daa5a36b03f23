"""The site of the command line: directories, uploads, an application, and their endpoints.

Read options.py first (the options, and all tables of options together), then values.py (parsers of
their values), combinations.py (options that contradict each other), site.py (the handler that is
made from them, with opening.py, single_file.py, upload_mount.py, users.py, cache_rules.py and
allowed_hosts.py) and command_line.py (`main`, with suggestions.py for names that are not there, and
https_redirect.py for listeners that redirect).
"""
