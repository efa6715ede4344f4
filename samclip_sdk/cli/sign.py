"""The command that signs a bundle: `samclip sign`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME
from samclip_sdk.bundle.open import bundle_id, open_bundle
from samclip_sdk.bundle.signature import sign as sign_manifest
from samclip_sdk.cli.options import AsJson
from samclip_sdk.cli.terminal import print_json, print_line, working
from samclip_sdk.errors import BundleError, BundleTamperedError, one_line
from samclip_sdk.system.atomic_file import atomic_file


def sign(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="its folder")],
    *,
    key: Annotated[Path, typer.Option(help="an Ed25519 private key (.pem) without a password")],
    as_json: AsJson = False,
) -> None:
    """Sign a bundle: write manifest.sig beside its manifest, once all files are found to be whole.

    Who has the public key can hold the bundle to it: `samclip verify --key`. A .zip of the folder
    carries the signature.
    """
    with working("checking the files"):
        if os.path.isfile(bundle):
            raise BundleError(f"{one_line(bundle)} is no folder: sign the folder, and zip that")
        opened = open_bundle(bundle)
        opened.verify()
        # The bytes that were opened have this id: another manifest, put there since, is not signed.
        content = (opened.root / MANIFEST_NAME).read_bytes()
        if bundle_id(content) != opened.id:
            raise BundleTamperedError(f"{one_line(bundle)} was changed while it was checked")
        signature = sign_manifest(content, key=key)
        path = opened.root / SIGNATURE_NAME
        with atomic_file(path) as file:
            file.write(signature)
    if as_json:
        print_json({"bundle": opened.id, "signature": str(path)})
    else:
        print_line(f"signed {opened.manifest.name} {opened.manifest.revision}: {path}")
