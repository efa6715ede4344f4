"""Cameras and films behind a URL, served by this process on its own machine."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from samclip_sdk import ImageError
from samclip_sdk.engine.video import network
from samclip_sdk.engine.video.sources import open_footage
from samclip_sdk.errors import VideoReconnectedWarning
from samclip_sdk.image.loading import load_image
from tests.engine.video.made_films import write_film
from tests.refusals import refused

EDGE = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"


def jpeg(level: int) -> bytes:
    """A grey image of a brightness."""
    return bytes(cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1])


@contextmanager
def served(answer: Any) -> Iterator[str]:
    """A server whose GET calls `answer` with the handler."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Camera:
    """Motion JPEG: so many frames for each connection; a frame's brightness counts all frames.

    Args:
        frames: of each connection, in their order; later connections get no answer.
        pause_s: between frames.
    """

    def __init__(self, *frames: int, pause_s: float = 0.02) -> None:
        self.frames, self.pause_s, self.sent = list(frames), pause_s, 0

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        if not self.frames:
            handler.send_error(503)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for _ in range(self.frames.pop(0)):
            self.sent += 1
            content = jpeg(min(255, 2 * self.sent))
            try:
                handler.wfile.write(EDGE % (len(content), content))
            except OSError:
                return
            time.sleep(self.pause_s)


def levels(frames: Any) -> Iterator[float]:
    return (float(load_image(each.image).mean()) for each in frames)


def test_a_camera_that_is_lost_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "TRIES", 2)
    with served(Camera(12, 12)) as url:
        footage = open_footage(f"{url}/camera.mjpg")
        assert (footage.live, footage.count) == (True, None)
        seen: list[float] = []
        with pytest.warns(VideoReconnectedWarning, match="opened again") as told:
            refused(lambda: seen.extend(levels(footage.frames)), ImageError, "2 attempts")
        assert [each.filename for each in told] == [__file__]
    assert seen == sorted(seen)
    assert seen[0] < 24 < seen[-1], "frames of both connections"


def test_a_slow_reader_gets_the_newest_frame() -> None:
    with served(Camera(100, pause_s=0.01)) as url:
        frames: Any = open_footage(f"{url}/camera.mjpg").frames
        first = load_image(next(frames).image).mean()
        time.sleep(0.5)
        load_image(next(frames).image)
        later = load_image(next(frames).image).mean()
        assert later - first > 2 * 10, "many frames were passed over"
        before = threading.active_count()
        frames.close()
        assert threading.active_count() < before


def test_a_film_on_a_web_server_is_read_whole(tmp_path: Path) -> None:
    content = write_film(tmp_path / "a.mp4", 14).read_bytes()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp4")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    with served(answer) as url, warnings.catch_warnings():
        warnings.simplefilter("error")
        footage = open_footage(f"{url}/a.mp4")
        assert (footage.live, footage.count, footage.fps) == (False, 14, 12.5)
        assert len(list(footage.frames)) == 14


def test_a_url_that_gives_nothing_is_told_without_its_password(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with served(lambda handler: handler.send_error(404)) as url:
        asked = url.replace("//", "//me:secret@") + "/none.mjpg"
        error = refused(lambda: open_footage(asked), ImageError, "me:***@", "/none.mjpg")
    assert "secret" not in str(error)
    refused(lambda: open_footage("rtsp://127.0.0.1:1/x"), ImageError, "rtsp://127.0.0.1:1/x")
    assert capfd.readouterr().err == ""
