/**
 * What can go wrong, in one tree. Every message is one line that a person can act on.
 *
 *     SamClipError
 *     ├── ImageError               an image that is unreadable, empty or of the wrong kind
 *     ├── PromptError              a point, box or mask that makes no sense for this image
 *     ├── TextError                no labels, an empty text, two labels that are the same
 *     ├── BundleError              a bundle or a label pack that cannot be read
 *     │   ├── BundleTamperedError  a file whose sha256 is not the manifest's
 *     │   ├── BundleSchemaError    a manifest that this version does not understand
 *     │   ├── DownloadError        a download that broke off; nothing of it was kept
 *     │   └── GraphMissingError    a graph that this bundle does not have
 *     ├── GraphError               a graph that the runtime cannot open or run
 *     ├── OptionError              an option that cannot be
 *     └── EmbeddingMismatchError   an embedding or a label pack that another bundle made
 */
export class SamClipError extends Error {
  // Not the constructor's own name: a bundler may shorten that, and it crosses from a worker.
  override name = "SamClipError";
}
export class ImageError extends SamClipError { override name = "ImageError"; }
export class PromptError extends SamClipError { override name = "PromptError"; }
export class TextError extends SamClipError { override name = "TextError"; }
export class BundleError extends SamClipError { override name = "BundleError"; }
export class BundleTamperedError extends BundleError { override name = "BundleTamperedError"; }
export class BundleSchemaError extends BundleError { override name = "BundleSchemaError"; }
export class DownloadError extends BundleError { override name = "DownloadError"; }
export class GraphMissingError extends BundleError { override name = "GraphMissingError"; }
export class GraphError extends SamClipError { override name = "GraphError"; }
export class OptionError extends SamClipError { override name = "OptionError"; }
export class EmbeddingMismatchError extends SamClipError { override name = "EmbeddingMismatchError"; }

const CLASSES = [
  ImageError, PromptError, TextError, BundleError, BundleTamperedError, BundleSchemaError,
  DownloadError, GraphMissingError, GraphError, OptionError, EmbeddingMismatchError,
];
const BY_NAME = new Map(CLASSES.map((each) => [new each().name, each]));

/** An error as it was before it crossed from a worker. */
export function revive(name: string, message: string): SamClipError {
  return new (BY_NAME.get(name) ?? SamClipError)(message);
}

/** The message of whatever was thrown. */
export function reason(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
