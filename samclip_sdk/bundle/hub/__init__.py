"""Bundles on a model hub: downloaded file by file, as files are needed, and uploaded.

huggingface_hub makes the requests. Each file is checked against the bundle's manifest here.
`samclip_sdk.bundle` opens bundles that are on this disk, and does not need huggingface_hub.
"""

from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.bundle.hub.options import HubOptions
from samclip_sdk.bundle.hub.push import push_bundle

__all__ = [
    "HubOptions",
    "open_named_bundle",
    "push_bundle",
]
