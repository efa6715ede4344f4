"""Annotation of many images: their sources, a progress file, workers, and COCO JSON.

A run that was stopped goes on where it was. This room uses `SamClip` alone and prints nothing.
"""

from samclip_sdk.annotate.annotation_log import AnnotationSettings
from samclip_sdk.annotate.annotation_run import (
    AnnotationOutput,
    AnnotationReport,
    annotate_listing,
)
from samclip_sdk.annotate.annotator import Annotator, annotate_folder, annotate_images
from samclip_sdk.annotate.image_sources import Listing, list_source
from samclip_sdk.annotate.ray_workers import RayWorkers
from samclip_sdk.engine.queries import InstanceQuery, TextQuery

__all__ = [
    "AnnotationOutput",
    "AnnotationReport",
    "AnnotationSettings",
    "Annotator",
    "InstanceQuery",
    "Listing",
    "RayWorkers",
    "TextQuery",
    "annotate_folder",
    "annotate_images",
    "annotate_listing",
    "list_source",
]
