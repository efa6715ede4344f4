"""The published protocols on public data sets, for whoever has the data.

One module a protocol, on the sets' own files: a reader for each set, and what measures a model on
what was read. No data lives here but the lists of labels that a set does not bring itself.
"""
