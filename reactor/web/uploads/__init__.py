"""Files to be written: whole ones, forms, and uploads that can be resumed.

Read receiver.py first (PUT, POST and DELETE), then atomic_file.py (a file appears when all of it is
on disk), form_upload.py and sweep.py. Resumable uploads: resumable.py, resumable_fields.py (their
header fields), partial_store.py (bytes received so far), metadata.py, quota.py, takeover.py and
publish.py.
"""
