"""How much of its teachers' zero-shot skills the student keeps (paper, table 1)."""

from __future__ import annotations

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import Teachers
from benchmarks.paper.skills import accuracy, new_progress, prompt_ious, student_accuracy, tracker
from benchmarks.quality.class_embeddings import embed_classes, rank_pictures
from training.teachers.small import SmallSam

NEEDS = ("clip_teacher", "sam_teacher", "stage3")


def measure_teachers(inputs: Inputs) -> Teachers:
    """Measures both teachers and the student, each at its own resolutions."""
    material, student = inputs.heldout, inputs.student("stage3")
    model = inputs.model
    with new_progress() as progress:
        track = tracker(progress)
        classes = embed_classes(inputs.clip.text_encoder, material.nouns)
        clip_rank = rank_pictures(inputs.clip.embed_images, classes=classes)
        return Teachers(
            clip_teacher=accuracy(clip_rank, material, name="CLIP teacher", track=track),
            student_accuracy=student_accuracy(
                student,
                material,
                resolution=model.classification_resolution,
                name="student",
                track=track,
            ),
            sam_teacher=prompt_ious(
                inputs.sam,
                material,
                resolution=model.segmentation_resolution,
                who="sam_teacher",
                name="SAM teacher",
                track=track,
            ),
            student_prompts=prompt_ious(
                SmallSam(student),
                material,
                resolution=model.segmentation_resolution,
                who="model",
                name="student",
                track=track,
            ),
        )
