"""The archive: the log in files on an S3 server, from which everything can be restored, verified and decided again."""
