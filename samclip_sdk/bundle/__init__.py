"""Bundles, the artifact that ships: schema, contract, opening, verification and signatures.

Nothing here runs a graph: that is a runtime's work.
"""
