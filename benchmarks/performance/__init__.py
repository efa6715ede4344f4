"""The published measurement: ViT-B at 1024 px beside its peers, and samclip-tiny, in one run."""
