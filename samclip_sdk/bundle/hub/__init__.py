"""Bundles on a model hub: taken from it file by file, as they are needed, and put onto it.

What a hub says is checked here against the bundle's manifest. Opening a bundle that is on this disk
is the work of `samclip_sdk.bundle`, and none of it needs huggingface_hub.
"""
