"""The tree of errors and warnings, so that an app may catch as much or as little as it wants.

    SamClipError
    ├── ImageError               an image that is missing, unreadable, empty or of the wrong kind
    ├── PromptError              a point, box, label or mask that makes no sense for this image
    ├── TextError                an empty list of labels, an empty text
    ├── UnaskedLabelError        a label that a result was not asked for (a KeyError, too)
    ├── BundleError              a bundle that cannot be opened
    │   ├── BundleTamperedError  a file whose sha256 is not the manifest's
    │   ├── BundleSignatureError a bundle that is not signed by the key that was given
    │   ├── BundleSchemaError    a manifest that this version does not understand
    │   └── HubError             a hub that refuses to send a bundle, or to take one
    │       └── HubUnreachableError  it does not answer: no network, or a fault of its own
    ├── OptionError              an option that is invalid, or that the runtime does not take
    ├── RuntimeMissingError      an optional package is absent; the message holds the pip command
    ├── RunError                 a graph that failed as it ran: its device may be lost, or full
    ├── EmbeddingMismatchError   an ImageEmbedding or vocabulary that another bundle made
    ├── ClusterError             no Ray cluster is there, or its workers failed
    ├── StorageError             a file that cannot be written (disk full) or read back
    └── VerificationError        this device's outputs are not the bundle's golden outputs

    SamClipWarning (a UserWarning)
    ├── TextTruncatedWarning       a text longer than the context, cut as CLIP does
    ├── UnknownWordWarning         a label that the model was not taught
    ├── UnverifiedArtifactWarning  an artifact whose parity was never measured on its target
    ├── VideoCutShortWarning       a video that ends before the last frame in its header
    └── VideoReconnectedWarning    a network camera that was lost, and opened again

Every message is one line that a person can act on. A `ValueError` outside this tree is a fault of
the calling code, such as a result built from arrays whose shapes disagree.
"""

from __future__ import annotations


class SamClipError(Exception):
    """The root of all errors that this package raises on purpose."""


class ImageError(SamClipError):
    """An image that is missing, unreadable, empty or of the wrong kind."""


class PromptError(SamClipError):
    """A point, box, label or mask prompt that makes no sense for this image."""


class TextError(SamClipError):
    """An empty list of labels, an empty text, or any text if the bundle has no text encoder."""


class UnaskedLabelError(SamClipError, KeyError):
    """A result is asked for the rows of a label that it was not made for."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would print its repr


class BundleError(SamClipError):
    """A bundle that cannot be opened."""


class BundleTamperedError(BundleError):
    """A file whose sha256 is not the one in the manifest."""


class BundleSignatureError(BundleError):
    """A bundle that is not signed, or not by the key that was given."""


class BundleSchemaError(BundleError):
    """A manifest that this version does not understand."""


class HubError(BundleError):
    """A hub refuses a download or an upload: no such repository or revision, or no permission."""


class HubUnreachableError(HubError):
    """A hub does not answer: there is no network, or it has a fault. It may answer later."""


class OptionError(SamClipError):
    """An option whose value is invalid, or that the runtime does not take."""


class RuntimeMissingError(SamClipError):
    """An optional package is not installed; the message holds the exact pip command."""


class RunError(SamClipError):
    """A graph that failed as it ran: its device may be lost, or full."""


class EmbeddingMismatchError(SamClipError):
    """An ImageEmbedding or a vocabulary that was made by another bundle."""


class ClusterError(SamClipError):
    """A Ray cluster that is not there or cannot be joined, or whose workers failed."""


class StorageError(SamClipError):
    """A file that cannot be written, for instance on a full disk, or cannot be read back."""


class VerificationError(SamClipError):
    """The outputs of this device are not the golden outputs of the bundle."""


class SamClipWarning(UserWarning):
    """The root of the package's warnings."""


class TextTruncatedWarning(SamClipWarning):
    """A text is longer than the context length and was cut, as CLIP does."""


class UnknownWordWarning(SamClipWarning):
    """A label that the model was not taught: it takes it for another word, or for nothing."""


class UnverifiedArtifactWarning(SamClipWarning):
    """An artifact is used here that was never checked on a device like this one."""


class VideoCutShortWarning(SamClipWarning):
    """A video ends before the last frame in its header; the frames before that are good."""


class VideoReconnectedWarning(SamClipWarning):
    """A network camera was lost and opened again; the frames in between are missing."""


def one_line(text: object, *, limit: int = 300) -> str:
    """Makes a foreign text fit for a message: one line of printable characters.

    Args:
        text: a path, a label, another library's message.
        limit: in characters; a longer text keeps its beginning and its end.
    """
    shown = str(text)
    if len(shown) > limit:
        shown = f"{shown[: limit // 2]} ... {shown[-limit // 2 :]}"
    return printable(shown)


def printable(text: str) -> str:
    """Makes a foreign text of any length one line of printable characters.

    Control characters (an escape, a line's end, a change of direction) become their escape codes.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
