"""Bundles on a model hub: downloaded file by file, as files are needed, and uploaded.

huggingface_hub makes the requests. Each file is checked against the bundle's manifest here.
`samclip_sdk.bundle` opens bundles that are on this disk, and does not need huggingface_hub.
"""
