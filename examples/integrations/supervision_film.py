"""Draws the objects of a film with supervision: masks, names, ids and traces.

    pip install 'samclip-sdk[onnx]' supervision
    python examples/integrations/supervision_film.py film.mp4 person dog --output out.mp4

Every result of the SDK has `to_supervision()`; a stream's results have the ids as `tracker_id`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import supervision

from samclip_sdk import SamClip
from samclip_sdk.bundle import DEFAULT_MODEL


def main() -> None:
    parser = argparse.ArgumentParser(description="follows labels through a film, and draws them")
    parser.add_argument("film")
    parser.add_argument("labels", nargs="+")
    parser.add_argument("--output", default="out.mp4")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()

    by_id = supervision.ColorLookup.TRACK
    annotators = (
        supervision.MaskAnnotator(color_lookup=by_id),
        supervision.TraceAnnotator(color_lookup=by_id),
    )
    names = supervision.LabelAnnotator(color_lookup=by_id)
    seen: defaultdict[str, set[int]] = defaultdict(set)
    info = supervision.VideoInfo.from_video_path(options.film)
    frames = supervision.get_video_frames_generator(options.film)  # BGR, as supervision draws
    with (
        SamClip.load(options.runtime, model=options.model) as model,
        supervision.VideoSink(options.output, video_info=info) as sink,
    ):
        for frame, found in zip(frames, model.stream(options.film, options.labels), strict=True):
            detections = found.to_supervision()
            for annotator in annotators:
                frame = annotator.annotate(frame, detections)
            captions = [f"{each.label} {each.id}" for each in found]
            sink.write_frame(names.annotate(frame, detections, labels=captions))
            for each in found:
                seen[each.label].add(each.id)
    for label in options.labels:
        print(f"{label}: {len(seen[label])} followed")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
