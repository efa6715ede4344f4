import Foundation

/// What can go wrong. Each message is one line that names the value and the way out.
public enum SamClipError: Error, Equatable, Sendable {
    /// A bundle, or a file of it, that cannot be read.
    case bundle(String)
    /// A file whose sha256 is not the manifest's.
    case tampered(String)
    /// A manifest, a pack or a table of words of a schema that this package does not know.
    case schema(String)
    /// A graph that the bundle does not have for this runtime and precision.
    case missingGraph(String)
    /// An image that is empty or of a kind that cannot be used.
    case image(String)
    /// Points or boxes that make no sense for this image.
    case prompt(String)
    /// No label, an empty one, or one that is there twice.
    case text(String)
    /// Something that another model made.
    case mismatch(String)
    /// What a runtime refused.
    case runtime(String)
}

extension SamClipError: LocalizedError, CustomStringConvertible {
    public var description: String {
        switch self {
        case .bundle(let message), .tampered(let message), .schema(let message),
            .missingGraph(let message), .image(let message), .prompt(let message),
            .text(let message), .mismatch(let message), .runtime(let message):
            return message
        }
    }

    public var errorDescription: String? { description }
}
