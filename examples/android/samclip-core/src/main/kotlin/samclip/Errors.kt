package samclip

/** The root: whatever this package throws on purpose. Every message is one line to act on. */
open class SamClipException(message: String, cause: Throwable? = null) : RuntimeException(message, cause)

/** An image without pixels, or whose bytes do not fit its size. */
class ImageException(message: String) : SamClipException(message)

/** A point, a box or a mask prompt that makes no sense for this image. */
class PromptException(message: String) : SamClipException(message)

/** No label, an empty one, or two that are the same to the model. */
class TextException(message: String) : SamClipException(message)

/** A bundle that cannot be opened, or that lacks what was asked of it. */
open class BundleException(message: String, cause: Throwable? = null) : SamClipException(message, cause)

/** A file whose sha256 is not the one in the manifest. */
class BundleTamperedException(message: String) : BundleException(message)

/** A manifest that this version does not understand. */
class BundleSchemaException(message: String) : BundleException(message)

/** Labels or an image that another model embedded. */
class EmbeddingMismatchException(message: String) : SamClipException(message)
