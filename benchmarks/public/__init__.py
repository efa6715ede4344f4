"""The published protocols on public data sets, for whoever has the data.

One module a protocol, on the sets' own files: a reader for each set, and what measures a model on
what was read. A reader's docstring tells how a set must be laid out; a set that is laid out
otherwise, or damaged, is refused with a `DatasetError`. No data lives here but the lists of labels
that a set does not bring itself.
"""
