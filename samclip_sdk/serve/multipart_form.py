"""Forms: `multipart/form-data`, split in memory. No text in a form is decoded here."""

from __future__ import annotations

import io

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from samclip_sdk.errors import one_line
from samclip_sdk.serve.errors import RefusedError

_HEAD_BYTES = 16_000
"""The length of a part's headers, at most: its name, a file name, a content type."""


class MultipartForm:
    """A form in parts: files called `image`, and one part called `request`.

    Args:
        body: the whole body.
        boundary: the boundary between parts.
        maximum: the number of images, at most.
        question_bytes: the length of the part `request`, at most.

    Attributes:
        question: the content of the part `request`; None without one.
        images: the contents of the parts `image`.

    Raises:
        RefusedError: the body is no form or ends early, or it has other or too many parts.
    """

    def __init__(self, body: bytes, *, boundary: bytes, maximum: int, question_bytes: int) -> None:
        self.question: bytes | None = None
        self.images: list[bytes] = []
        self._maximum, self._question_bytes = maximum, question_bytes
        self._ended = False
        if not boundary:
            raise _unreadable("its boundary is missing.")
        try:
            parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._read_name,
                    "on_header_value": self._read_value,
                    "on_header_end": self._end_line,
                    "on_headers_finished": self._open,
                    "on_part_data": self._read_content,
                    "on_part_end": self._close,
                    "on_end": self._end,
                },
            )
            parser.write(body)
        except FormParserError as error:
            raise _unreadable(f"{error}.") from error
        if not self._ended:  # the last part may be cut
            raise _unreadable("it ends early.")

    def _begin(self) -> None:
        self._name, self._value, self._disposition = bytearray(), bytearray(), b""
        self._head_bytes = 0
        self._content = io.BytesIO()
        self._is_image = False

    def _read_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._of_head(data, start, end)

    def _read_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._of_head(data, start, end)

    def _of_head(self, data: bytes, start: int, end: int) -> bytes:
        self._head_bytes += end - start
        if self._head_bytes > _HEAD_BYTES:
            raise _unreadable(f"the head of a part has more than {_HEAD_BYTES} bytes.")
        return data[start:end]

    def _end_line(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        """Refuses a part with another name, or one too many, before its content is read."""
        _, said = parse_options_header(self._disposition)
        name = said.get(b"name", b"")
        self._is_image = name == b"image" and b"filename" in said
        if not self._is_image and name != b"request":
            shown = one_line(name.decode("utf-8", "replace"), limit=40)
            raise RefusedError(
                f"there is a part {shown!r}; parts are files called image, and request, in JSON",
                status=422,
            )
        if self._is_image and len(self.images) == self._maximum:
            raise RefusedError(
                f"there are more than {self._maximum} images, which this server takes at most",
                status=422,
            )
        if not self._is_image and self.question is not None:
            raise RefusedError("there are two parts called request; send one", status=422)

    def _read_content(self, data: bytes, start: int, end: int) -> None:
        self._content.write(memoryview(data)[start:end])
        if not self._is_image:
            check_question(self._content.tell(), maximum=self._question_bytes)

    def _close(self) -> None:
        content = self._content.getvalue()
        if self._is_image:
            self.images.append(content)
        else:
            self.question = content

    def _end(self) -> None:
        self._ended = True


def check_question(size: int, *, maximum: int) -> None:
    """Refuses a question that is too long: parsed, it can take a hundred times as much memory.

    Raises:
        RefusedError: the question is longer than this server takes.
    """
    if size > maximum:
        raise RefusedError(
            f"beside its images the request has more than {maximum // 1000} kB, which this server "
            "takes at most",
            status=413,
        )


def _unreadable(why: str) -> RefusedError:
    return RefusedError(
        f"the form cannot be read: {one_line(why)} Give images as files called image, and all "
        "else as JSON in one field called request",
        status=422,
    )
