"""The semantics of RFC 9110 as pure functions: text in, decisions out.

negotiation.py chooses a content coding and a form, vary.py names what the choice depends on,
validators.py makes and parses entity tags, preconditions.py evaluates If-Match and its relatives,
ranges.py parses Range, methods.py refuses methods, media_types.py maps file extensions to types,
multipart.py parses forms (RFC 7578), form_encoding.py decodes forms of the other kind,
structured_fields.py parses items (RFC 9651), cross_site.py refuses requests from other sites,
hosts.py those for other hosts, upload_protocols.py those of other upload protocols,
uploaded_files.py keeps uploaded pages from acting in the server's name, content_policy.py writes
policies, file_names.py says which names may be served, paths.py takes paths apart and makes
relative references. limits.py declares the limits of forms.
"""
