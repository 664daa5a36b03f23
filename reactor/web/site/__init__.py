"""The site of the command line: directories, uploads, an application, and their endpoints.

Read options.py first (the options, and all tables of options together), then values.py (parsers of
their values), site.py (the handler that is made from them, with cache_rules.py and
allowed_hosts.py) and command_line.py (`main`, with suggestions.py for names that are not there).
"""
