"""Other models, each run by its own package; the SDK imports none of them."""
